"""What is measured of attention: whether it lies on the instances that tell the class."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ltbench.results.records import Scores
from ltbench.scoring.metrics import shot_groups

Floats = NDArray[np.floating]


def attended(weights: Floats, witnesses: NDArray[np.bool_]) -> Floats:
    """The share [N] of each bag's largest weights [N, L] that lie on witnesses; of one largest
    weight that is 1 or 0. NaN for a bag without a witness."""
    largest = weights == weights.max(axis=1, keepdims=True)
    share = (largest & witnesses).sum(axis=1) / largest.sum(axis=1)
    return np.where(witnesses.any(axis=1), share, np.nan)


def witnessed(
    share: Floats, labels: NDArray[np.integer], counts: Sequence[int], borders: tuple[int, int]
) -> Scores:
    """The mean of `attended` over classes that have witnesses, and over those of many and few."""
    of_class = np.full(len(counts), np.nan)
    for c in range(len(counts)):
        told = share[labels == c]
        if len(told) and not np.isnan(told).any():
            of_class[c] = told.mean()
    there = of_class[~np.isnan(of_class)]
    groups = shot_groups(of_class, counts, borders)
    return {
        "witness": float(there.mean()) if len(there) else None,
        **{f"witness_{group}": groups[group] for group in ("many", "medium", "few")},
    }
