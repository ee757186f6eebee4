"""The protocols of learning numbers, some of which are rare."""

import math
from typing import Annotated, Literal

import torch
from msgspec import Meta
from torch import Tensor

from ltbench.protocols.schema import Classification, Table


class Values(Table, frozen=True):
    """What the number of a row is, in which `unit`, and the bins that say how rare it is.

    `rotation` turns each image by an angle in degrees, which is its value. `names` takes the names
    of classes, which are numbers, as ages are. `column` takes that `column` of a table, whose other
    columns are inputs. There are so many `bins`, equally wide, from `low` to `high`; no value is
    outside of them, and a value on a border is of the bin above.
    """

    kind: Literal["rotation", "names", "column"]
    unit: Annotated[str, Meta(min_length=1)]
    low: float
    high: float
    bins: Annotated[int, Meta(ge=2)]
    column: str | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low {self.low} must be below high {self.high}")
        if (self.kind == "column") != (self.column is not None):
            raise ValueError("kind 'column' alone needs column, the name of one")

    @property
    def edges(self) -> Tensor:
        """The borders of bins [bins + 1], float64."""
        return torch.linspace(self.low, self.high, self.bins + 1, dtype=torch.float64)


class Numbers(Classification, frozen=True, kw_only=True, tag="regression"):
    """A network learns a number for each row, where some numbers are rare.

    In `data` and `imbalance` a bin of values stands for a class, and bins have their order: a
    profile falls from the first bin on, or, with `class_order = "seed"`, on odd seeds from the
    last. A bin may have no rows. Of a source without test rows each bin gives `test_per_class`, or
    a third of its rows where it has less than three times as many.
    """

    values: Values

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data.label_noise:
            raise ValueError("label_noise is not for this track - at data")
        if self.data.classes:
            raise ValueError("classes is not for this track, whose rows have values - at data")
        if self.values.kind == "rotation" and self.imbalance.profile == "source":
            raise ValueError(
                "angles are drawn, so no source has them; state another profile - at imbalance"
            )
