"""What the track of sequences grants to methods beyond the contract of all."""

from dataclasses import dataclass

from torch import Tensor

from ltbench.contract.context import Grants

PARTS = "parts"
"""What a method needs that takes channels apart, `run.granted.parts`."""


@dataclass(frozen=True, kw_only=True)
class SequenceGrants(Grants):
    """What the track grants: `parts` [P, C], of each part of a row which channels are in it.

    They are in the protocol's order, on the device of the run, and each channel is in one.
    """

    parts: Tensor
