"""What texts grant to methods beyond what all tracks share."""

from dataclasses import dataclass

from torch import Tensor

from ltbench.contract.context import Grants

DIFFICULTY = "difficulty"
"""What a method needs that cannot do without `run.granted.difficulty`."""


@dataclass(frozen=True, kw_only=True)
class LanguageGrants(Grants):
    """What the track grants: how hard each training text [N] reads, from 0 to 1, in their order.

    It is made of the words of training texts alone. None where a method of the recipe makes other
    rows of them, as nobody knows what texts those would be.
    """

    difficulty: Tensor | None = None
