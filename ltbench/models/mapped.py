"""A linear map of features that are ready-made, and a head of cosines."""

from math import prod
from typing import Annotated

from msgspec import Meta, Struct
from torch import nn

from ltbench.models import Branched
from ltbench.models.heads import CosineHead


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """The factor on the cosines."""

    scale: Annotated[float, Meta(gt=0)] = 10.0


class Map(nn.Linear):
    """A linear map that begins as the one that changes nothing, as far as its width allows."""

    def reset_parameters(self) -> None:
        nn.init.eye_(self.weight)
        nn.init.zeros_(self.bias)


class Network(Branched):
    """The trunk lays inputs out flat, the branch is the map."""

    def __init__(self, shape: tuple[int, ...], num_classes: int, options: Options) -> None:
        super().__init__()
        self.width = prod(shape)
        self.trunk = nn.Sequential(nn.Flatten())
        self.branch, features = self.new_branch()
        self.head = CosineHead(features, num_classes, options.scale)

    def new_branch(self, share: float = 1.0) -> tuple[nn.Sequential, int]:
        width = max(1, round(self.width * share))
        return nn.Sequential(Map(self.width, width)), width
