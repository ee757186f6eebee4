"""A linear layer alone, for rows that are features already."""

from math import prod

from msgspec import Struct
from torch import nn

from ltbench.models import Branched


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """There are none."""


class Network(Branched):
    """The head on inputs that the trunk lays out flat; a further branch passes them on whole."""

    def __init__(self, shape: tuple[int, ...], num_classes: int, options: Options) -> None:
        super().__init__()
        self.width = prod(shape)
        self.trunk = nn.Sequential(nn.Flatten())
        self.branch, features = self.new_branch()
        self.head = nn.Linear(features, num_classes)

    def new_branch(self, share: float = 1.0) -> tuple[nn.Sequential, int]:
        return nn.Sequential(), self.width
