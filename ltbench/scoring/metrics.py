"""Metrics: pure functions of labels, predictions and probabilities, in float64.

Throughout, `labels` and `predicted` [N] are integers in 0..C-1, `probabilities` [N, C] sum to
one in each row, and a class without test rows is left out of means over classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.integer]
Floats = NDArray[np.float64]


def recalls(labels: Integers, predicted: Integers, num_classes: int) -> Floats:
    """The recall [C] of each class; NaN for a class without rows."""
    rows = np.bincount(labels, minlength=num_classes)
    hits = np.bincount(labels[labels == predicted], minlength=num_classes)
    return _divided(hits, rows)


def accuracy(labels: Integers, predicted: Integers) -> float:
    return float(np.mean(labels == predicted))


def balanced_accuracy(recall: Floats) -> float:
    """The mean of the recalls."""
    return float(np.nanmean(recall))


def worst_class(recall: Floats) -> float:
    return float(np.nanmin(recall))


def g_mean(recall: Floats) -> float:
    """The geometric mean of the recalls; 0 if one of them is."""
    return float(geometric_mean(recall[~np.isnan(recall)]))


def geometric_mean(values: Floats) -> Floats:
    """The geometric mean over the last axis [..., C]; a product of many would underflow."""
    with np.errstate(divide="ignore"):  # of a 0 the logarithm is -inf, and the mean 0
        mean: Floats = np.exp(np.log(values).mean(axis=-1))
    return mean


def shot_groups(
    recall: Floats, class_counts: Sequence[int], shot_splits: tuple[int, int]
) -> dict[str, float | None]:
    """Mean recall of the classes with many, medium and few training rows; None for no class.

    Few are fewer than the first border, many more than the second.
    """
    counts = np.asarray(class_counts)
    few, many = counts < shot_splits[0], counts > shot_splits[1]
    groups = {"many": many, "medium": ~few & ~many, "few": few}
    return {
        name: float(np.nanmean(recall[group])) if (group & ~np.isnan(recall)).any() else None
        for name, group in groups.items()
    }


def macro_f1(labels: Integers, predicted: Integers, num_classes: int) -> float:
    """The mean over classes of F1; a class neither present nor predicted is left out."""
    hits = np.bincount(labels[labels == predicted], minlength=num_classes)
    both = np.bincount(labels, minlength=num_classes) + np.bincount(
        predicted, minlength=num_classes
    )
    return float(np.nanmean(_divided(2 * hits, both)))


def macro_auc(labels: Integers, probabilities: Floats) -> float | None:
    """The mean over classes of the area under the ROC curve of that class against the rest.

    Ties count half. None if a class has no rows, or all of them.
    """
    return auc_of(labels, outranking(labels, probabilities), probabilities.shape[1])


def outranking(labels: Integers, probabilities: Floats) -> Integers:
    """For each row, how many rows of other classes are likelier to be of its class [N], doubled.

    A tie counts once. Macro AUC follows from it to the bit.
    """
    count = np.zeros(len(labels), dtype=np.int64)
    for c in np.unique(labels):
        own = labels == c
        among_all = _mid_ranks(probabilities[:, c])[own]
        below = 2 * (among_all - _mid_ranks(probabilities[own, c]))
        count[own] = 2 * (~own).sum() - np.round(below).astype(np.int64)
    return count


def auc_of(labels: Integers, outranking: Integers, num_classes: int) -> float | None:
    """Macro AUC of what `outranking` [N] gave; None if a class has no rows, or all of them."""
    positives = np.bincount(labels, minlength=num_classes)
    pairs = positives * (len(labels) - positives)
    if (pairs == 0).any():
        return None
    above = np.bincount(labels, outranking, minlength=num_classes) / 2
    return float(np.mean((pairs - above) / pairs))


def expected_calibration_error(
    labels: Integers, predicted: Integers, confidence: Floats, bins: int = 15
) -> float:
    """The gap between confidence [N] and accuracy, averaged over equal-width bins by their rows.

    Guo et al., arXiv:1706.04599.
    """
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(place, (labels == predicted) - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(labels))


def near_borders(confidence: Floats, within: float, bins: int = 15) -> int:
    """How many confidences [N], if they are off by `within`, may be of another bin of the
    calibration error."""
    places = confidence * bins
    return int((np.abs(places - np.round(places)) <= within * bins).sum())


def relative_accuracy(accuracy: Floats, vanilla: Floats, balanced: Floats) -> Floats:
    """Accuracy over the better of two references trained on a balanced set of the same size.

    `vanilla` is plain training's accuracy there, `balanced` the method's own (Zhang et al.,
    arXiv:2110.04596, section 4.1).
    """
    return accuracy / np.maximum(vanilla, balanced)


def scored(
    labels: Integers,
    predicted: Integers,
    probabilities: Floats,
    class_counts: Sequence[int],
    shot_splits: tuple[int, int],
) -> dict[str, float | None]:
    """Every metric of one cell by name; `class_counts` [C] are its training rows."""
    confidence = probabilities[np.arange(len(labels)), predicted]
    above = outranking(labels, probabilities)
    return of_decisions(labels, predicted, confidence, above, class_counts, shot_splits)


def of_decisions(
    labels: Integers,
    predicted: Integers,
    confidence: Floats,
    outranking: Integers,
    class_counts: Sequence[int],
    shot_splits: tuple[int, int],
) -> dict[str, float | None]:
    """Every metric, of what was decided, how surely, and what ranked above each row; each [N]."""
    num_classes = len(class_counts)
    recall = recalls(labels, predicted, num_classes)
    return {
        "balanced_accuracy": balanced_accuracy(recall),
        "accuracy": accuracy(labels, predicted),
        **shot_groups(recall, class_counts, shot_splits),
        "worst_class": worst_class(recall),
        "g_mean": g_mean(recall),
        "macro_f1": macro_f1(labels, predicted, num_classes),
        "macro_auc": auc_of(labels, outranking, num_classes),
        "expected_calibration_error": expected_calibration_error(labels, predicted, confidence),
    }


def _divided(numerator: Integers, denominator: Integers) -> Floats:
    """Element by element; NaN where the denominator is 0."""
    safe = np.where(denominator == 0, 1, denominator)
    return np.where(denominator == 0, np.nan, numerator / safe)


def _mid_ranks(values: Floats) -> Floats:
    """Ranks from 1, ties at the middle of their ranks."""
    _, inverse, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[inverse]


@dataclass(frozen=True)
class Counts:
    """Hits, predicted and actual rows [..., C] of each class; as many decisions as wanted."""

    hits: Floats
    predicted: Floats
    actual: Floats

    @property
    def recall(self) -> Floats:
        """The recalls of the classes that have rows, which are the same throughout."""
        present = self.actual.reshape(-1, self.actual.shape[-1])[0] > 0
        return self.hits[..., present] / self.actual[..., present]


OfCounts = Callable[[Counts, int | None], Floats]
"""A metric of counts; `positive` is the class that F1 and its like are of, None for all."""


def counted(labels: Integers, predicted: Integers, num_classes: int) -> Counts:
    """The counts [C] of one decision."""
    hits = labels[labels == predicted]
    rows = (np.bincount(what, minlength=num_classes) for what in (hits, predicted, labels))
    return Counts(*(count.astype(np.float64) for count in rows))


def f_score(counts: Counts, positive: int | None, beta: float = 1.0) -> Floats:
    """F-beta of the positive class, or its mean over classes."""
    both = counts.predicted + beta**2 * counts.actual
    score: Floats = (1 + beta**2) * counts.hits / np.maximum(both, 1)
    return score[..., positive] if positive is not None else score.mean(axis=-1)


def matthews(counts: Counts, positive: int | None) -> Floats:
    """Matthews' correlation coefficient, for any number of classes (Gorodkin, 2004)."""
    rows = counts.actual.sum(axis=-1)
    together = (counts.predicted * counts.actual).sum(axis=-1)
    covariance = counts.hits.sum(axis=-1) * rows - together
    of_predicted = rows**2 - (counts.predicted**2).sum(axis=-1)
    spread = of_predicted * (rows**2 - (counts.actual**2).sum(axis=-1))
    return np.where(spread > 0, covariance / np.sqrt(np.maximum(spread, 1)), 0.0)


OF_COUNTS: dict[str, OfCounts] = {
    "f1": f_score,
    "f2": partial(f_score, beta=2.0),
    "g_mean": lambda counts, _: geometric_mean(counts.recall),
    "balanced_accuracy": lambda counts, _: counts.recall.mean(axis=-1),
    "matthews": matthews,
}


def average_precision(labels: Integers, probabilities: Floats, positive: int | None) -> float:
    """The area under the steps of precision over recall, of one class or their mean."""
    from sklearn.metrics import average_precision_score

    present = np.unique(labels).tolist() if positive is None else [positive]
    areas = [average_precision_score(labels == c, probabilities[:, c]) for c in present]
    return float(np.mean(areas))


def scored_decisions(
    labels: Integers,
    predicted: Integers,
    tuned: Integers,
    probabilities: Floats,
    positive: int | None,
) -> dict[str, float | None]:
    """Every metric of one fold of a table by name.

    `tuned` are the labels decided at thresholds that were set for F1. `positive` is the rare class
    of two, which F1 and its like are of; without it they are means over classes. The Brier score
    is half the squared distance to the truth, so that of two classes it is the usual one.
    """
    num_classes = probabilities.shape[1]
    counts = counted(labels, predicted, num_classes)
    truth = probabilities[np.arange(len(labels)), labels]
    confidence = probabilities[np.arange(len(labels)), predicted]
    distance = (probabilities**2).sum(axis=1) - 2 * truth + 1
    return {
        **{name: float(value(counts, positive)) for name, value in OF_COUNTS.items()},
        "f1_tuned": float(f_score(counted(labels, tuned, num_classes), positive)),
        "average_precision": average_precision(labels, probabilities, positive),
        "auc": macro_auc(labels, probabilities),
        "brier": float(distance.mean() / 2),
        "log_loss": float(-np.log(np.clip(truth, SMALLEST, 1)).mean()),
        "expected_calibration_error": expected_calibration_error(labels, predicted, confidence),
    }


SMALLEST = 1e-15  # of a probability whose logarithm is taken
