"""VGG with BatchNorm for 32x32 images (Simonyan and Zisserman, ICLR 2015, table 1)."""

from typing import Literal

from msgspec import Struct
from torch import nn

from ltbench.errors import LTBenchError
from ltbench.models import Branched

STAGES = {
    11: [[64], [128], [256, 256], [512, 512], [512, 512]],
    13: [[64, 64], [128, 128], [256, 256], [512, 512], [512, 512]],
    16: [[64, 64], [128, 128], [256] * 3, [512] * 3, [512] * 3],
}


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """The depth, and how many times narrower than in the paper all layers are."""

    depth: Literal[11, 13, 16] = 16
    narrower: Literal[1, 2, 4, 8, 16] = 1


class Network(Branched):
    """Blocks of 3x3 convolution, BatchNorm and ReLU, halved after each stage, and a linear head.

    As is customary for small images, the mean over pixels takes the place of two hidden layers.
    The trunk ends after the second stage.
    """

    def __init__(self, shape: tuple[int, ...], num_classes: int, options: Options) -> None:
        super().__init__()
        if len(shape) != 3 or min(shape[1:]) < 16:
            raise LTBenchError(f"a vgg takes images from 16x16 on, and rows are {list(shape)}")
        self.stages = [
            [width // options.narrower for width in widths] for widths in STAGES[options.depth]
        ]
        self.trunk = nn.Sequential(*_stages(shape[0], self.stages[:2]))
        self.branch, features = self.new_branch()
        self.head = nn.Linear(features, num_classes)

    def new_branch(self, share: float = 1.0) -> tuple[nn.Sequential, int]:
        later = [[round(width * share) for width in widths] for widths in self.stages[2:]]
        layers = _stages(self.stages[1][-1], later)[:-1]  # the mean takes the last halving's place
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), later[-1][-1]


def _stages(channels: int, stages: list[list[int]]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for widths in stages:
        for width in widths:
            layers.append(_block(channels, width))
            channels = width
        layers.append(nn.MaxPool2d(2))
    return layers


def _block(channels: int, width: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels, width, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())
