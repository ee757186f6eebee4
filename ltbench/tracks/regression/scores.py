"""How far what is said is from the values of test rows, in all and by how rare they are."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ltbench.results.records import Scores

Floats = NDArray[np.float64]
LEAST = 1e-9  # an error that a geometric mean takes in the place of none
GROUPS = ("many", "medium", "few")


def scored(
    values: Floats,
    said: Floats,
    bins: NDArray[np.integer],
    counts: Sequence[int],
    borders: tuple[int, int],
) -> Scores:
    """Every measure of N test rows, whose `bins` [N] had `counts` [B] training rows.

    Groups are of rows: those of bins with fewer training rows than the first border are few, with
    more than the second many. A group without rows has None.
    """
    error = np.abs(said - values)
    of_bins = [float(error[bins == b].mean()) for b in np.unique(bins)]
    found: Scores = {
        "balanced_mae": float(np.mean(of_bins)),
        "mae": float(error.mean()),
        "mse": float((error**2).mean()),
        "geometric_mean": geometric(error),
        "worst_bin": max(of_bins),
    }
    rows = np.asarray(counts)[bins]
    few, many = borders
    for name, here in zip(
        GROUPS, (rows > many, (rows >= few) & (rows <= many), rows < few), strict=True
    ):
        found[name] = float(error[here].mean()) if here.any() else None
        found[f"{name}_geometric"] = geometric(error[here]) if here.any() else None
    return found


def geometric(errors: Floats) -> float:
    """The geometric mean of errors [N]."""
    return float(np.exp(np.log(np.maximum(errors, LEAST)).mean()))
