"""What clusters are worth: how they are named, and measures of them; pure functions in float64.

Throughout, `labels` and `clusters` [N] are integers in 0..C-1.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ltbench.results.records import Scores
from ltbench.scoring.metrics import Integers, accuracy, macro_f1, recalls

Floats = NDArray[np.float64]


def table(labels: Integers, clusters: Integers, classes: int) -> Floats:
    """How many rows [C, C] each cluster has of each class."""
    pairs = np.bincount(clusters * classes + labels, minlength=classes**2)
    return pairs.reshape(classes, classes).astype(np.float64)


def named(labels: Integers, clusters: Integers, classes: int) -> NDArray[np.int64]:
    """The class [C] that each cluster is called, each class once, so that most rows are right."""
    found: NDArray[np.int64] = linear_sum_assignment(
        table(labels, clusters, classes), maximize=True
    )[1]
    return found


def information(counts: Floats) -> float:
    """Mutual information over the mean of both entropies, of a table of counts; 0 where one side is
    all in one, and 1 where both are."""
    shares = counts / counts.sum()
    sides = _entropy(shares.sum(0)), _entropy(shares.sum(1))
    if max(sides) == 0:
        return 1.0
    shared = sum(sides) - _entropy(shares.ravel())
    return float(max(shared, 0.0) / (sum(sides) / 2))


def _entropy(shares: Floats) -> float:
    there = shares[shares > 0]
    return float(max(-(there * np.log(there)).sum(), 0.0))


def rand_index(counts: Floats) -> float:
    """The share of pairs of rows that are together in both or in neither, adjusted for chance, of a
    table of counts (Hubert and Arabie, 1985); 1 where both sides are alike."""
    together = _pairs(counts).sum()
    rows, columns = _pairs(counts.sum(1)).sum(), _pairs(counts.sum(0)).sum()
    expected = rows * columns / max(_pairs(counts.sum()), 1.0)
    most = (rows + columns) / 2
    return 1.0 if most == expected else float((together - expected) / (most - expected))


def _pairs(counts: Floats) -> Floats:
    return counts * (counts - 1) / 2


def size_error(labels: Integers, clusters: Integers, classes: int) -> float:
    """How far the sizes of clusters, from the largest to the smallest, are from those of classes:
    the sum of gaps over all rows."""
    sizes, counts = (np.sort(np.bincount(one, minlength=classes)) for one in (clusters, labels))
    return float(np.abs(sizes - counts).sum() / len(labels))


def of_clusters(labels: Integers, clusters: Integers, known: NDArray[np.bool_]) -> Scores:
    """Every measure of clusters; `known` [C] says which classes are."""
    classes = len(known)
    told = named(labels, clusters, classes)[clusters]
    recall, counts = recalls(labels, told, classes), table(labels, clusters, classes)
    some = known.any()
    return {
        "nmi": information(counts),
        "size_error": size_error(labels, clusters, classes),
        "matched_balanced_accuracy": float(np.nanmean(recall)),
        "matched_accuracy": accuracy(labels, told),
        "matched_f1": macro_f1(labels, told, classes),
        "ari": rand_index(counts),
        "old": float(np.nanmean(recall[known])) if some else None,
        "new": float(np.nanmean(recall[~known])) if some else None,
    }
