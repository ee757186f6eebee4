"""A plain convolutional network over time, for series of several channels."""

from itertools import pairwise
from typing import Annotated

from msgspec import Meta, Struct
from torch import nn

from ltbench.errors import LTBenchError
from ltbench.models import Branched


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """The channels of each block, and over how many steps, an odd number, a convolution reaches."""

    widths: Annotated[list[Annotated[int, Meta(ge=1)]], Meta(min_length=1)]
    reach: Annotated[int, Meta(ge=1)] = 3


class Network(Branched):
    """Blocks of convolution, BatchNorm and ReLU; the mean over all steps feeds a linear head.

    It takes series [N, C, T] of any length. The trunk ends after the first block.
    """

    def __init__(self, shape: tuple[int, ...], num_classes: int, options: Options) -> None:
        super().__init__()
        if len(shape) != 2:
            raise LTBenchError(
                f"a sequence_convnet takes rows [channels, steps], and these are {list(shape)}"
            )
        if options.reach % 2 == 0:
            raise LTBenchError(f"reach {options.reach} must be odd, so that steps stay in place")
        self.options = options
        self.trunk = nn.Sequential(*self._block(shape[0], options.widths[0]))
        self.branch, features = self.new_branch()
        self.head = nn.Linear(features, num_classes)

    def new_branch(self, share: float = 1.0) -> tuple[nn.Sequential, int]:
        first, *later = self.options.widths
        widths = [first, *(round(width * share) for width in later)]
        blocks = [layer for pair in pairwise(widths) for layer in self._block(*pair)]
        return nn.Sequential(*blocks, nn.AdaptiveAvgPool1d(1), nn.Flatten()), widths[-1]

    def _block(self, before: int, after: int) -> list[nn.Module]:
        reach = self.options.reach
        convolution = nn.Conv1d(before, after, reach, padding=reach // 2, bias=False)
        return [convolution, nn.BatchNorm1d(after), nn.ReLU()]
