"""Metrics of groups of classes by how often they were seen, upstream and downstream."""

from collections.abc import Sequence

import numpy as np

from ltbench.scoring.metrics import Floats

GROUPS = ("p_many", "p_few", "p_gap", "d_many", "d_few", "d_gap")


def halves(recall: Floats, counts: Sequence[int]) -> tuple[float | None, float | None]:
    """The mean recall of the half of the classes with more rows, and of that with fewer.

    Of an odd number of classes the middle one is in neither, and of equal counts the first class is
    the larger. A class whose recall [C] is NaN is in no mean.
    """
    order, half = np.argsort(-np.asarray(counts), kind="stable"), len(recall) // 2
    return _mean(recall[order[:half]]), _mean(recall[order[len(recall) - half :]])


def grouped(
    recall: Floats, upstream: Sequence[int], downstream: Sequence[int]
) -> dict[str, float | None]:
    """The measures of `GROUPS`: of the classes by their rows upstream (P) and downstream (D).

    None for those of which nothing is known: without `upstream` counts, those of P.
    """
    found: dict[str, float | None] = dict.fromkeys(GROUPS)
    for kind, counts in (("p", upstream), ("d", downstream)):
        if counts:
            many, few = halves(recall, counts)
            gap = None if many is None or few is None else many - few
            found |= {f"{kind}_many": many, f"{kind}_few": few, f"{kind}_gap": gap}
    return found


def _mean(values: Floats) -> float | None:
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else None
