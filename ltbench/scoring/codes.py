"""Probabilities in few bits, and what of a metric can still be told from them."""

import numpy as np
from numpy.typing import NDArray

from ltbench.scoring.metrics import SMALLEST, Floats, Integers, average_precision, macro_auc

TAIL = (1e-4, 1e-3, 5e-3, 2e-2)
BORDERS = np.array([*TAIL, *(np.arange(1, 15) / 15), *(1 - x for x in reversed(TAIL))])
"""Between which a probability is told: fine near 0 and 1, fifteenths in the middle."""

LOW, HIGH = np.array([0.0, *BORDERS]), np.array([*BORDERS, 1.0])
Bounds = tuple[float, float]


def coded(probabilities: Floats) -> NDArray[np.uint8]:
    """The place of each probability [N, C] among the borders; of two classes that of the second."""
    told = probabilities[:, 1:] if probabilities.shape[1] == 2 else probabilities
    return np.searchsorted(BORDERS, told).astype(np.uint8)


def bounds(codes: Integers) -> tuple[Floats, Floats]:
    """The least and the largest probabilities [N, C] that codes stand for."""
    low, high = LOW[codes], HIGH[codes]
    if codes.shape[1] > 1:
        return low, high
    return np.hstack([1 - high, low]), np.hstack([1 - low, high])


def auc_bounds(labels: Integers, codes: Integers) -> Bounds | None:
    """Macro AUC where rows of one code rank as badly, and as well, as they can."""
    ranked, own = _ranked(codes), np.arange(len(labels))
    found = []
    for shift in (-0.5, 0.5):
        moved = ranked.copy()
        moved[own, labels] += shift
        found.append(macro_auc(labels, moved))
    worst, best = found
    return None if worst is None or best is None else (worst, best)


def average_precision_bounds(labels: Integers, codes: Integers, positive: int | None) -> Bounds:
    """Average precision where rows of one code rank as badly, and as well, as they can.

    At worst the rows of the class come one by one after all others of their code, at best all of
    them at once before.
    """
    ranked, own = _ranked(codes), np.arange(len(labels))
    worst, best = ranked.copy(), ranked.copy()
    worst[own, labels] -= 0.25 + np.arange(len(labels)) / (4 * len(labels))
    best[own, labels] += 0.5
    low, high = (average_precision(labels, scores, positive) for scores in (worst, best))
    return low, high


def brier_bounds(labels: Integers, codes: Integers) -> Bounds:
    """Half the squared distance to the truth, at least and at most."""
    low, high = bounds(codes)
    own = np.arange(len(labels))
    found = []
    for others, truth in ((low, high), (high, low)):
        distance = (
            (others**2).sum(axis=1) - others[own, labels] ** 2 + (1 - truth[own, labels]) ** 2
        )
        found.append(float(distance.mean() / 2))
    return found[0], found[1]


def log_loss_bounds(labels: Integers, codes: Integers) -> Bounds:
    """The negative logarithm of the truth's probability, at least and at most."""
    own = np.arange(len(labels))
    least, most = (
        float(-np.log(np.clip(told[own, labels], SMALLEST, 1)).mean())
        for told in reversed(bounds(codes))
    )
    return least, most


def _ranked(codes: Integers) -> Floats:
    """Codes [N, C] as scores of every class."""
    scores = codes.astype(np.float64)
    return scores if scores.shape[1] > 1 else np.hstack([-scores, scores])
