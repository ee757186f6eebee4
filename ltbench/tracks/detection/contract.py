"""What detection asks of methods beyond the contract of all, and grants them."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ltbench.contract.context import Grants

LOCATIONS = "locations"
"""What a method needs that asks where boxes to train on lie, `run.granted.locations`."""

ACTING = ("scores", "decide")
"""The hooks that the track calls: scores are stored, so nothing is left to train."""

Head = Literal["softmax", "sigmoid"]
"""Of what scores are: a softmax over classes and background, the last, or a sigmoid each."""


@dataclass(frozen=True, kw_only=True)
class DetectionGrants(Grants):
    """What the track grants: the `head` of the detector, and facts of the boxes to train on.

    `locations` [M, 2] are the centres of all of them, x and y from 0 to 1 across their picture,
    `labels` [M] their classes. `images` [C] are the pictures to train on that show a class, of
    `pictures` in all.
    """

    head: Head
    locations: Tensor
    labels: Tensor
    images: Tensor
    pictures: int
