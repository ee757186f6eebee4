"""Intervals over seeds, paired differences, and ranks that rows share."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]
CONFIDENCE = 0.95


def interval(values: Floats) -> tuple[Floats, Floats]:
    """Mean and half width of the 95 % interval (Student's t) over the last axis; NaN is missing.

    The half width is infinite where fewer than two values are there, the mean NaN without any.
    """
    there = ~np.isnan(values)
    n = there.sum(axis=-1)
    safe = np.maximum(n, 1)
    mean = np.where(there, values, 0).sum(axis=-1) / safe
    gaps = np.where(there, values - mean[..., None], 0)
    deviation = np.sqrt((gaps**2).sum(axis=-1) / np.maximum(n - 1, 1))
    t = stdtrit(np.maximum(n - 1, 1), (1 + CONFIDENCE) / 2)
    half = np.where(n > 1, t * deviation / np.sqrt(safe), np.inf)
    return np.where(n > 0, mean, np.nan), half


def rank_ranges(values: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The best and worst rank that each row of [rows, seeds] may have, 1 for the highest.

    A row is above another if the 95 % interval of their paired difference over the seeds they
    share lies above zero. Rows without values come last.
    """
    scored = ~np.isnan(values).all(axis=1)
    better = np.zeros((len(values), len(values)), dtype=bool)
    for row in range(len(values)):
        mean, half = interval(values[row] - values[row + 1 :])
        better[row, row + 1 :] = mean - half > 0  # False where a mean is NaN
        better[row + 1 :, row] = mean + half < 0
    above, below = better.sum(axis=0), better.sum(axis=1)
    best = np.where(scored, 1 + above, scored.sum() + 1)
    worst = np.where(scored, scored.sum() - below, len(values))
    return best, worst
