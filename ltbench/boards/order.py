"""Whether a board orders methods as others published it: a correlation of ranks, no verdict."""

from collections.abc import Mapping
from statistics import fmean

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

RESAMPLES = 10_000
FEWEST = 5  # methods, of which an order says something


class Order(Struct, frozen=True):
    """Spearman's correlation of a board's means with what was published for a problem.

    It is over so many `methods`, each with the mean of what sources told of it; `low` and `high`
    are the 95 % interval of the percentile bootstrap, which resamples methods.
    """

    problem: str
    methods: int
    correlation: float
    low: float
    high: float


def order_of(
    problem: str, means: Mapping[str, float], told: Mapping[str, list[float]]
) -> Order | None:
    """How far the order by `means` is that of the accuracies which sources `told`, by recipe.

    None if fewer than five recipes have both, or all of either are alike.
    """
    both = [recipe for recipe in means if recipe in told]
    pairs = np.array([[means[recipe], fmean(told[recipe])] for recipe in both]).reshape(-1, 2)
    if len(both) < FEWEST or (pairs == pairs[0]).all(axis=0).any():
        return None
    drawn = np.random.default_rng(0).integers(len(both), size=(RESAMPLES, len(both)))
    low, high = np.nanquantile(_spearman(pairs[drawn]), (0.025, 0.975))
    (found,) = _spearman(pairs[None])
    return Order(problem, len(both), *(round(float(value), 3) for value in (found, low, high)))


def _spearman(pairs: NDArray[np.float64]) -> NDArray[np.float64]:
    """The correlation [K] of ranks, ties sharing theirs, of pairs [K, N, 2]; NaN where one of the
    two is the same throughout.
    """
    from scipy.stats import rankdata  # it loads long, and few boards are compared

    ranks = rankdata(pairs, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    spread = np.sqrt((ranks**2).sum(axis=1).prod(axis=1))
    with np.errstate(invalid="ignore"):
        found: NDArray[np.float64] = ranks.prod(axis=2).sum(axis=1) / spread
    return found
