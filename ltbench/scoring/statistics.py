"""Intervals over seeds, paired differences, and ranks that rows share."""

import math

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]
CONFIDENCE = 0.95
DIGITS = 6  # of every number, so that a table is the same wherever it is made


class Mean(Struct, frozen=True):
    """A mean over seeds and its 95 % interval; no bounds where one seed tells none."""

    mean: float | None
    low: float | None
    high: float | None


class Cost(Struct, frozen=True):
    """Medians over seeds; `relative` and `passes` are in units of plain training."""

    relative: float | None
    passes: float | None
    seconds: float | None
    peak_memory_mb: float | None


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


def means_of(values: Floats) -> list[Mean]:
    """The mean over seeds of each row of [rows, seeds]."""
    return [
        Mean(rounded(mean), rounded(mean - half), rounded(mean + half))
        for mean, half in zip(*map(np.ndarray.tolist, interval(values)), strict=True)
    ]


def medians(values: Floats) -> list[list[float | None]]:
    """The median over seeds of [numbers, rows, seeds], as a list of numbers for each row."""
    ordered = np.sort(values, axis=2)  # NaN goes last
    n = (~np.isnan(values)).sum(axis=2)
    low = np.take_along_axis(ordered, np.maximum(n - 1, 0)[..., None] // 2, axis=2)
    high = np.take_along_axis(ordered, n[..., None] // 2 % values.shape[2], axis=2)
    middle = ((low + high) / 2)[..., 0]
    return [[rounded(number) for number in row] for row in middle.T.tolist()]


def rounded(number: float) -> float | None:
    return round(float(number), DIGITS) if math.isfinite(number) else None
