"""What is measured of several labels a row; everything follows from ranks and decided labels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ltbench.results.records import Scores
from ltbench.scoring.metrics import shot_groups

Floats = NDArray[np.float64]
Truths = NDArray[np.bool_]
Integers = NDArray[np.integer]


def ranks_of(scores: NDArray[np.floating]) -> Integers:
    """How many distinct scores of the same class are lower [N, C]; equal scores share a rank."""
    found = np.zeros(scores.shape, dtype=np.min_scalar_type(max(len(scores) - 1, 1)))
    for c in range(scores.shape[1]):
        found[:, c] = np.unique(scores[:, c], return_inverse=True)[1]
    return found


def average_precisions(labels: Truths, ranks: Integers) -> Floats:
    """The average precision [C] of each class: precision at every positive, averaged.

    Rows of one rank come together, as in scikit-learn's. NaN for a class without positives.
    """
    rows = len(labels)
    order = np.argsort(-ranks.astype(np.int64), axis=0, kind="stable")
    positive = np.take_along_axis(labels, order, axis=0)
    ranked = np.take_along_axis(ranks, order, axis=0)
    ends = np.ones(ranked.shape, dtype=bool)
    ends[:-1] = ranked[1:] != ranked[:-1]
    places = np.where(ends, np.arange(rows)[:, None], rows)
    last = np.minimum.accumulate(places[::-1], axis=0)[::-1]  # of the rows that share a rank
    hits = np.take_along_axis(positive.cumsum(axis=0), last, axis=0)
    total = labels.sum(axis=0)
    summed = (positive * hits / (last + 1)).sum(axis=0)
    return np.where(total > 0, summed / np.maximum(total, 1), np.nan)


def recalls_of(labels: Truths, decided: Truths) -> Floats:
    """The share [C] of the rows of each class that are told to have it; NaN without rows."""
    total = labels.sum(axis=0)
    return np.where(total > 0, (labels & decided).sum(axis=0) / np.maximum(total, 1), np.nan)


def scored(
    labels: Truths,
    ranks: Integers,
    decided: Truths,
    class_counts: Sequence[int],
    shot_splits: tuple[int, int],
) -> Scores:
    """Every measure of a cell by name; all arrays [N, C].

    A class without a positive test row is left out of all of them; they are None without any.
    """
    there = labels.any(axis=0)
    precision, recall = average_precisions(labels, ranks), recalls_of(labels, decided)
    hits, told = (labels & decided).sum(axis=0)[there], decided.sum(axis=0)[there]
    both = told + labels.sum(axis=0)[there]
    return {
        "map": _mean(precision),
        **shot_groups(precision, class_counts, shot_splits),
        "macro_f1": _mean(2 * hits / both),
        "micro_f1": float(2 * hits.sum() / both.sum()) if there.any() else None,
        "few_recall": shot_groups(recall, class_counts, shot_splits)["few"],
    }


def _mean(values: Floats) -> float | None:
    told = values[~np.isnan(values)]
    return float(told.mean()) if len(told) else None
