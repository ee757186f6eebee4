"""A convolutional network for scenes: what is found anywhere in the image counts."""

from typing import Annotated

from msgspec import Meta, Struct
from torch import nn

from ltbench.errors import LTBenchError
from ltbench.models import Branched


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """The channels of each block."""

    widths: Annotated[list[Annotated[int, Meta(ge=1)]], Meta(min_length=1)]


class Network(Branched):
    """Blocks of 3x3 convolution, BatchNorm and ReLU; the first halves the image. The greatest
    response of each channel over all places feeds a linear head. The trunk is the first block.
    """

    def __init__(self, shape: tuple[int, ...], num_classes: int, options: Options) -> None:
        super().__init__()
        if len(shape) != 3:
            raise LTBenchError(f"a scenenet takes images, and rows of {list(shape)} are none")
        self.widths = options.widths
        self.trunk = nn.Sequential(_block(shape[0], self.widths[0]), nn.AvgPool2d(2))
        self.branch, features = self.new_branch()
        self.head = nn.Linear(features, num_classes)

    def new_branch(self, share: float = 1.0) -> tuple[nn.Sequential, int]:
        channels, blocks = self.widths[0], []
        for width in self.widths[1:]:
            blocks.append(_block(channels, round(width * share)))
            channels = round(width * share)
        return nn.Sequential(*blocks, nn.AdaptiveMaxPool2d(1), nn.Flatten()), channels


def _block(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )
