"""Residual networks for 32x32 images (He et al., CVPR 2016, section 4.2)."""

from typing import Annotated

import torch.nn.functional as F
from msgspec import Meta, Struct
from torch import Tensor, nn

from ltbench.errors import LTBenchError
from ltbench.models import Branched


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """The depth, 6 n + 2, and the channels of the first stage, which double at each later one."""

    depth: Annotated[int, Meta(ge=8)]
    width: Annotated[int, Meta(ge=1)] = 16

    def __post_init__(self) -> None:
        if self.depth % 6 != 2:
            raise ValueError(f"depth {self.depth} is not 6 n + 2, such as 8, 20, 32, 44, 56")


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut without parameters (option A of the paper).

    Where channels grow, the shortcut takes every other pixel and pads channels with zeros.
    """

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu1, self.relu2 = nn.ReLU(inplace=True), nn.ReLU(inplace=True)
        self.stride, self.grown = stride, width - channels

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        if self.grown or self.stride > 1:
            x = F.avg_pool2d(x, 1, self.stride)  # a slice, with a faster gradient
            x = F.pad(x, (0, 0, 0, 0, self.grown // 2, self.grown - self.grown // 2))
        out += x
        activated: Tensor = self.relu2(out)
        return activated


class Network(Branched):
    """A convolution, three stages of blocks, the mean over pixels, and a linear head.

    The trunk ends after the first stage.
    """

    def __init__(self, shape: tuple[int, ...], num_classes: int, options: Options) -> None:
        super().__init__()
        if len(shape) != 3:
            raise LTBenchError(f"a resnet takes images, and rows of {list(shape)} are none")
        self.blocks, self.width = (options.depth - 2) // 6, options.width
        stem = nn.Conv2d(shape[0], self.width, 3, padding=1, bias=False)
        self.trunk = nn.Sequential(
            stem,
            nn.BatchNorm2d(self.width),
            nn.ReLU(inplace=True),
            *self._stage(self.width, self.width, 1),
        )
        self.branch, features = self.new_branch()
        self.head = nn.Linear(features, num_classes)
        self.apply(_initialise)

    def new_branch(self, share: float = 1.0) -> tuple[nn.Sequential, int]:
        second, third = round(2 * self.width * share), round(4 * self.width * share)
        branch = nn.Sequential(
            *self._stage(self.width, second, 2),
            *self._stage(second, third, 2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        return branch.apply(_initialise), third

    def _stage(self, channels: int, width: int, stride: int) -> list[nn.Module]:
        later = [Block(width, width, 1) for _ in range(self.blocks - 1)]
        return [Block(channels, width, stride), *later]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight)
