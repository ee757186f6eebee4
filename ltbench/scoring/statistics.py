"""Intervals, paired differences that hold among many, shared ranks, and what a table can tell."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy.special import nctdtrinc, stdtr, stdtrit

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]
Limits = tuple[float, float]

CONFIDENCE = 0.95
LEVEL = 0.05  # of the false discoveries among the differences that are said to hold
POWER = 0.8
LEAST = 3  # values without which nothing is told apart
DIGITS = 6  # of every number, so that a table is the same wherever it is made


class Mean(Struct, frozen=True):
    """A mean over seeds and its 95 % interval; no bounds where there is no spread to tell one."""

    mean: float | None
    low: float | None
    high: float | None


NOTHING = Mean(None, None, None)


class Cost(Struct, frozen=True):
    """Medians over seeds, and the range of `relative`.

    `relative` and `passes` are in units of plain training; `work` is in seconds of the processor,
    or on a GPU of the clock.
    """

    relative: float | None
    relative_low: float | None
    relative_high: float | None
    passes: float | None
    work: float | None
    peak_memory_mb: float | None


class Resolution(Struct, frozen=True):
    """What differences of two rows a table can tell.

    Of `pairs` that were tested, mostly over `n` seeds, `told_apart` hold. `spread` is the median
    over pairs of the standard deviation of their differences. With a power of 80 % a pair of that
    spread shows a difference of `alone` at 5 %, and one of `corrected` at the level that a pair
    must reach to be told apart in this table.
    """

    n: int
    pairs: int
    told_apart: int
    spread: float | None
    alone: float | None
    corrected: float | None


class Differences(Struct, frozen=True):
    """The differences of each two rows that are ranked, first less second.

    The pairs are those of `recipes` 0 and 1, 0 and 2, and so on, then 1 and 2, each over `n` seeds;
    `half` is that of the 95 % interval of one alone. `p` is that of a paired t-test alone,
    `adjusted_p` by Benjamini and Hochberg for all pairs. None where nothing can be told.
    """

    recipes: list[str]
    n: list[int]
    difference: list[float | None]
    half: list[float | None]
    p: list[float | None]
    adjusted_p: list[float | None]


@dataclass(frozen=True)
class Pairs:
    """The differences of each two rows, first less second, over the seeds that both have; all [P].

    `p` is that of a paired t-test, `adjusted` by Benjamini and Hochberg for all pairs; NaN where
    nothing can be told. `scored` [rows] says which rows have values.
    """

    first: Integers
    second: Integers
    n: Integers
    mean: Floats
    spread: Floats
    p: Floats
    adjusted: Floats
    scored: Booleans

    @property
    def held(self) -> Booleans:
        """Which differences hold: of those, 5 % may be expected to be none."""
        return self.adjusted <= LEVEL

    def to(self, row: int | None) -> Floats:
        """The adjusted p of each row's difference to one of them [rows]; NaN where that is none."""
        found = np.full(len(self.scored), np.nan)
        for one, other in ((self.first, self.second), (self.second, self.first)):
            at = other == row
            found[one[at]] = self.adjusted[at]
        return found


def differences(pairs: Pairs, names: list[str], order: list[int], sign: float) -> Differences:
    """The pairs of the rows that are ranked, of which `order` are the places, the best first.

    `names` are those of all rows, `sign` that by which their values were turned.
    """
    rows = [row for row in order if pairs.scored[row]]
    one, other = np.triu_indices(len(rows), 1)
    at = np.array(rows, dtype=np.int64)
    first, second = at[one], at[other]
    place = np.zeros((len(names), len(names)), dtype=np.int64)
    place[pairs.first, pairs.second] = place[pairs.second, pairs.first] = range(len(pairs.first))
    k = place[first, second]
    t = stdtrit(np.maximum(pairs.n[k] - 1, 1), (1 + CONFIDENCE) / 2)
    half = t * pairs.spread[k] / np.sqrt(np.maximum(pairs.n[k], 1))
    turned = np.where(first < second, sign, -sign) * pairs.mean[k]
    numbers = [np.round(turned, DIGITS), np.round(half, DIGITS)]
    ps = [_three_figures(one[k]) for one in (pairs.p, pairs.adjusted)]
    columns = ([None if math.isnan(v) else v for v in one.tolist()] for one in (*numbers, *ps))
    return Differences([names[row] for row in rows], pairs.n[k].tolist(), *columns)


def _three_figures(p: Floats) -> Floats:
    """P values with three figures, as `rounded_p` tells one."""
    told, inverse = np.unique(p, return_inverse=True)
    three = [np.nan if math.isnan(one) else float(f"{one:.3g}") for one in told.tolist()]
    return np.array(three, dtype=np.float64)[inverse]


def interval(values: Floats, step: float = 0.0, shared: float = 0.0) -> tuple[Floats, Floats]:
    """Mean and half width of the 95 % interval (Student's t) over the last axis; NaN is missing.

    The half width is infinite where fewer than two values are there, or where they do not spread
    and no `step` is known, the least by which a value can move, which a spread is taken to be at
    least. The mean is NaN without any value. `shared` is that share of the variance of one value
    which more values do not lessen, as they come of the same rows (Nadeau and Bengio, Machine
    Learning 2003: rows to test over rows to train).
    """
    n, mean, spread = moments(values, step)
    t = stdtrit(np.maximum(n - 1, 1), (1 + CONFIDENCE) / 2)
    half = t * spread * np.sqrt(1 / np.maximum(n, 1) + shared)
    return mean, np.where(np.isnan(half), np.inf, half)


def p_values(values: Floats, step: float = 0.0, shared: float = 0.0) -> Floats:
    """The two-sided p of a t-test for a mean of nothing, over the last axis; see `interval`.

    NaN, as nothing can be told, where the interval is infinite or fewer than three values are
    there.
    """
    return _p(*moments(values, step), shared)


def _p(n: Integers, mean: Floats, spread: Floats, shared: float = 0.0) -> Floats:
    t = mean / (spread * np.sqrt(1 / np.maximum(n, 1) + shared))
    return np.where(n >= LEAST, 2 * stdtr(np.maximum(n - 1, 1), -np.abs(t)), np.nan)


def moments(values: Floats, step: float = 0.0) -> tuple[Integers, Floats, Floats]:
    """How many values there are, their mean and their standard deviation, at least the step.

    The deviation is NaN where it does not show in the digits that are told.
    """
    missing = np.isnan(values)
    n = values.shape[-1] - missing.sum(axis=-1)
    there = np.where(missing, 0.0, values) if missing.any() else values
    mean = there.sum(axis=-1) / np.maximum(n, 1)
    gaps = there - mean[..., None]
    if there is not values:
        gaps[missing] = 0.0
    spread = np.sqrt(np.einsum("...s,...s->...", gaps, gaps) / np.maximum(n - 1, 1))
    told = (n > 1) & ((spread > 10**-DIGITS) | (step > 0))
    return n, np.where(n > 0, mean, np.nan), np.where(told, np.maximum(spread, step), np.nan)


def adjusted(p: Floats) -> Floats:
    """P values adjusted by Benjamini and Hochberg for all that are there; NaN is none."""
    told, there = p.copy(), np.flatnonzero(~np.isnan(p))
    rising = there[np.argsort(p[there])]
    scaled = p[rising] * (len(rising) / np.arange(1, len(rising) + 1))
    told[rising] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return told


def pairs_of(values: Floats, step: float = 0.0) -> Pairs:
    """The differences of each two of [rows, seeds]."""
    rows = len(values)
    first, second = np.triu_indices(rows, 1)
    every = [moments(values[row] - values[row + 1 :], step) for row in range(rows)]
    n, mean, spread = (np.concatenate(part) for part in zip(*every, strict=True))
    p = _p(n, mean, spread)
    scored = np.asarray(np.isfinite(values).any(axis=1))
    return Pairs(first, second, n, mean, spread, p, adjusted(p), scored)


def rank_ranges(pairs: Pairs) -> tuple[Integers, Integers]:
    """The best and worst rank that each row may have, 1 for the highest.

    The best is one more than the rows above it from which it is told apart, the worst leaves those
    below it. Rows without values come last.
    """
    rows, scored = len(pairs.scored), pairs.scored
    lower = np.where(pairs.mean > 0, pairs.second, pairs.first)[pairs.held]
    higher = np.where(pairs.mean > 0, pairs.first, pairs.second)[pairs.held]
    best = np.where(scored, 1 + np.bincount(lower, minlength=rows), scored.sum() + 1)
    worst = np.where(scored, scored.sum() - np.bincount(higher, minlength=rows), rows)
    return best, worst


def resolution(n: Integers, spread: Floats, adjusted_p: Floats, shared: float = 0.0) -> Resolution:
    """What a table can tell whose tested differences, each [pairs], are such; see `Pairs`."""
    there = ~np.isnan(adjusted_p) & ~np.isnan(spread)
    tested, held = int(there.sum()), int((adjusted_p[there] <= LEVEL).sum())
    if not tested:
        return Resolution(int(np.median(n[n > 0])) if n.any() else 0, 0, 0, None, None, None)
    often, wide = int(np.median(n[there])), float(np.median(spread[there]))
    reached = LEVEL * max(held, 1) / tested
    alone, corrected = (rounded(detectable(wide, often, p, shared)) for p in (LEVEL, reached))
    return Resolution(often, tested, held, rounded(wide), alone, corrected)


def detectable(spread: float, n: int, level: float = LEVEL, shared: float = 0.0) -> float:
    """The true difference that a t-test of n values shows at a level with a power of 80 %."""
    t = stdtrit(n - 1, 1 - level / 2)
    return float(nctdtrinc(n - 1, 1 - POWER, t)) * spread * math.sqrt(1 / n + shared)


def wanted(finished: Booleans, bad: Booleans, reference: int | None = None) -> Booleans:
    """The cells of [rows, seeds] that a row needs to stand beside the others.

    Those are of the seeds that most rows have finished, the reference counting twice (of all seeds,
    where none is so), and of those on which the row ended badly and another did not.
    """
    of_any = finished.any(axis=0)
    votes = finished[finished.any(axis=1)]
    if reference is not None:
        votes = np.concatenate([votes, finished[[reference]]])
    common = 2 * votes.sum(axis=0) > len(votes)
    needed: Booleans = (common if common.any() else of_any) | (bad & of_any)
    return needed


def lacking(there: Booleans) -> Booleans:
    """Which rows of [rows, seeds] lack seeds that most have."""
    needed = wanted(there, np.zeros_like(there))
    return np.asarray((needed & ~there).any(axis=1))


def levels(values: Floats) -> Floats:
    """What each row of [rows, seeds] reaches, whichever of the seeds it has.

    That is its mean, or where seeds are missing its part in the least-squares fit of one number for
    each row and one for each seed. NaN where a row has no value.
    """
    there = ~np.isnan(values)
    rows = there.any(axis=1)
    of_row, x = there[rows].astype(np.float64), np.where(there, values, 0.0)[rows]
    told = np.full(len(values), np.nan)
    if (there[rows] == there[rows][:1]).all():
        told[rows] = x.sum(axis=1) / of_row.sum(axis=1)
        return told
    of_row, x = of_row[:, there.any(axis=0)], x[:, there.any(axis=0)]
    count = of_row.sum(axis=0)
    normal = np.diag(of_row.sum(axis=1)) - (of_row / count) @ of_row.T
    fitted = np.linalg.lstsq(normal, x.sum(axis=1) - of_row @ (x.sum(axis=0) / count))[0]
    seeds = (x.sum(axis=0) - fitted @ of_row) / count
    told[rows] = fitted + seeds.mean()
    return told


def best_first(values: Floats, short: Booleans) -> list[int]:
    """The order of the rows of [rows, seeds]: the highest level first, those that are short after
    the others, and those without a value last; equal ones stay in their order."""
    level = [rounded(-one) for one in levels(values).tolist()]
    key = [math.inf if one is None else one for one in level]
    return sorted(range(len(values)), key=lambda row: (bool(short[row]), key[row]))


def means_of(
    values: Floats, limits: Limits | None = None, step: float = 0.0, shared: float = 0.0
) -> list[Mean]:
    """The mean over seeds of each row of [rows, seeds]; intervals end at the limits."""
    mean, half = interval(values, step, shared)
    low, high = mean - half, mean + half
    if limits is not None:
        low = np.where(np.isfinite(half), np.clip(low, *limits), low)
        high = np.where(np.isfinite(half), np.clip(high, *limits), high)
    return [Mean(*map(rounded, one)) for one in zip(*_lists(mean, low, high), strict=True)]


def _lists(*arrays: Floats) -> Iterator[list[float]]:
    return (array.tolist() for array in arrays)


def costs_of(numbers: Floats) -> list[Cost]:
    """The costs of each row of [numbers, rows, seeds]; those are relative, passes, work, memory."""
    low, high = (at.reduce(numbers[0], axis=-1) for at in (np.fmin, np.fmax))  # NaN is missing
    ends = zip(map(rounded, low.tolist()), map(rounded, high.tolist()), strict=True)
    return [
        Cost(relative, *range_, *rest)
        for (relative, *rest), range_ in zip(medians(numbers), ends, strict=True)
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


def rounded_p(p: float) -> float | None:
    """A p value with three figures."""
    return float(f"{p:.3g}") if math.isfinite(p) else None
