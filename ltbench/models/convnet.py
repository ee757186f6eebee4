"""A plain convolutional network for small images."""

from typing import Annotated, Literal

from msgspec import Meta, Struct
from torch import nn

from ltbench.errors import LTBenchError
from ltbench.models import Branched


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """The channels of each block, in which an image is halved, and what normalises them.

    By "instance" each channel of each image is normalised by itself, as is customary where
    training sets are distilled.
    """

    widths: Annotated[list[Annotated[int, Meta(ge=1)]], Meta(min_length=1)]
    norm: Literal["batch", "instance"] = "batch"


class Network(Branched):
    """Blocks of 3x3 convolution, normalisation, ReLU and 2x2 mean; all pixels feed a linear head.

    The trunk ends after the first block.
    """

    def __init__(self, shape: tuple[int, ...], num_classes: int, options: Options) -> None:
        super().__init__()
        if len(shape) != 3:
            raise LTBenchError(f"a convnet takes images, and rows of {list(shape)} are none")
        self.widths, self.norm = options.widths, options.norm
        halvings = 2 ** len(self.widths)
        self.pixels = (shape[1] // halvings) * (shape[2] // halvings)
        self.trunk = _block(shape[0], self.widths[0], self.norm)
        self.branch, features = self.new_branch()
        self.head = nn.Linear(features, num_classes)

    def new_branch(self, share: float = 1.0) -> tuple[nn.Sequential, int]:
        channels, blocks = self.widths[0], []
        for width in self.widths[1:]:
            blocks.append(_block(channels, round(width * share), self.norm))
            channels = round(width * share)
        return nn.Sequential(*blocks, nn.Flatten()), channels * self.pixels


def _block(channels: int, width: int, norm: str) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width) if norm == "batch" else nn.GroupNorm(width, width),
        nn.ReLU(),
        nn.AvgPool2d(2),
    )
