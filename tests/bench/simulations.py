"""What intervals, ranges and verdicts are worth: the figures of docs/numbers.md, made again.

python tests/bench/simulations.py                  # simulations, some minutes
python tests/bench/simulations.py --real FOLDER    # ... and real seeds: a results folder with
                                                   # many of a few recipes of digits-lt
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold

from ltbench.scoring.statistics import Pairs, interval, p_values, pairs_of, rank_ranges

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]
STEP = 0.002  # one prediction of 500


def normal(chance: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return chance.normal(size=shape) * 0.02


def skewed(chance: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return (1 - chance.exponential(size=shape)) * 0.02


def collapsing(chance: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """One seed in ten loses ten points, others differ little; the mean is given back."""
    return normal(chance, shape) / 10 - 0.1 * (chance.random(shape) < 0.1) + 0.01


def on_a_grid(spread: float) -> Draw:
    def draw(chance: np.random.Generator, shape: tuple[int, int]) -> Floats:
        return np.round(chance.normal(size=shape) * spread / STEP) * STEP

    return draw


def coverage(draw: Draw, seeds: int, step: float = 0.0, trials: int = 20_000) -> float:
    """How often the interval of differences whose mean is nothing holds nothing.

    One that does not spread, and so is none, holds only what it is at.
    """
    mean, half = interval(draw(np.random.default_rng(seeds), (trials, seeds)), step)
    return float((np.abs(mean) <= np.where(np.isinf(half), 1e-9, half)).mean())


def alike(rows: int) -> Callable[[np.random.Generator], Floats]:
    return lambda chance: np.zeros(rows)


def unlike(rows: int) -> Callable[[np.random.Generator], Floats]:
    """Levels that spread by twice the deviation of a difference, every third as the one before."""

    def levels(chance: np.random.Generator) -> Floats:
        level = chance.normal(size=rows) * 3
        level[2::3] = level[1::3][: len(level[2::3])]
        return level

    return levels


def judged(pairs: Pairs, level: Floats) -> tuple[float, float, float, float]:
    """Whether a verdict is wrong, which share of them is, which share of the true differences is
    found, and whether the range of every row holds its rank."""
    true = np.sign(level[pairs.first] - level[pairs.second])
    wrong = pairs.held & (np.sign(pairs.mean) != true)
    found = (pairs.held & ~wrong).sum() / max(np.count_nonzero(true), 1)
    best, worst = rank_ranges(pairs)
    first, last = (rankdata(-level, method=method) for method in ("min", "max"))
    hold = ((best <= first) & (last <= worst)).all()
    return float(wrong.any()), wrong.sum() / max(pairs.held.sum(), 1), found, float(hold)


def verdicts(
    levels: Callable[[np.random.Generator], Floats], seeds: int, trials: int = 400
) -> tuple[Floats, Floats]:
    """What `judged` tells in the mean of tables of such rows, by raw and by adjusted p."""
    chance, told = np.random.default_rng(seeds), []
    for _ in range(trials):
        level = levels(chance)
        values = level[:, None] + chance.normal(size=seeds) * 3
        pairs = pairs_of(values + chance.normal(size=(len(level), seeds)))
        told.append([judged(replace(pairs, adjusted=pairs.p), level), judged(pairs, level)])
    raw, adjusted = np.mean(told, axis=0)
    return raw, adjusted


def folds(rows: int, shared: float, tables: int = 150) -> float:
    """How often one of two recipes that are alike is called better on a problem.

    A table has ten features that count alike; one recipe sees five of them, the other the rest.
    Both are fitted and scored as in the track of tables: five seeds of two folds.
    """
    called = 0
    for table in range(tables):
        chance = np.random.default_rng((rows, table))
        x = chance.normal(size=(rows, 10))
        y = (x.sum(axis=1) + chance.normal(size=rows) * 3 > 3.5).astype(int)
        gaps = [np.mean([_gap(x, y, *fold) for fold in _cut(x, y, seed)]) for seed in range(5)]
        called += p_values(np.array(gaps), shared=shared) <= 0.05
    return called / tables


def _cut(x: Floats, y: NDArray[np.int64], seed: int) -> list[tuple[NDArray, NDArray]]:
    return list(StratifiedKFold(2, shuffle=True, random_state=seed).split(x, y))


def _gap(x: Floats, y: NDArray[np.int64], fit: NDArray, test: NDArray) -> float:
    scores = []
    for part in (slice(0, 5), slice(5, 10)):
        model = LogisticRegression().fit(x[fit][:, part], y[fit])
        scores.append(f1_score(y[test], model.predict(x[test][:, part])))
    return scores[0] - scores[1]


def on_real_seeds(folder: Path, draws: int = 2000) -> None:
    """Intervals of a few of the seeds of a folder, against the mean of all of them."""
    from ltbench.registry.registry import installed
    from ltbench.results.reading import records_of

    found, _ = records_of(installed().protocol("digits-lt"), folder)
    recipes = sorted({one.recipe for one in found})
    seeds = sorted({one.seed for one in found})
    values = np.full((len(recipes), len(seeds)), np.nan)
    for one in found:
        score = one.measures["balanced_accuracy"]
        values[recipes.index(one.recipe), seeds.index(one.seed)] = score
    values = values[:, ~np.isnan(values).any(axis=0)]
    level = values.mean(axis=1)
    true = pairs_of(values).mean
    print(f"\nreal seeds of digits-lt: {values.shape[1]} of {len(recipes)} recipes")
    print("seeds | holds the mean | raw: told, wrong | adjusted: told, wrong | ranges hold")
    for m in (3, 5, 8):
        chance, told = np.random.default_rng(m), []
        for _ in range(draws):
            some = values[:, chance.choice(values.shape[1], m, replace=False)]
            pairs = pairs_of(some, STEP)
            gaps = some[pairs.first] - some[pairs.second]
            mean, half = interval(gaps - true[:, None], STEP)
            row = [(np.abs(mean) <= half).mean()]
            for p in (pairs.p, pairs.adjusted):
                held = p <= 0.05
                row += [held.mean(), (held & (np.sign(pairs.mean) != np.sign(true))).mean()]
            best, worst = rank_ranges(pairs)
            rank = rankdata(-level, method="min"), rankdata(-level, method="max")
            told.append([*row, ((best <= rank[0]) & (rank[1] <= worst)).all()])
        print(m, "|", " | ".join(f"{100 * value:.1f}" for value in np.mean(told, axis=0)))


def tuned_rows(seeds: int, redrawn: bool, draws: int = 20_000) -> float:
    """How often the interval of a tuned row holds what tuning comes to on the average.

    A setting is a number from 0 to 1 and loses 10 points times its square; 16 are drawn, in strata,
    for each seed anew or once for all seeds. Validation is off by 3 points, a cell by 1.
    """
    chance = np.random.default_rng(0)
    shape = (draws, seeds if redrawn else 1, 16)
    places = (np.arange(16) + chance.random(shape)) / 16
    loss = -0.1 * np.broadcast_to(places, (draws, seeds, 16)) ** 2
    best = (loss + 0.03 * chance.normal(size=loss.shape)).argmax(axis=2)
    if not redrawn:  # one validation for all seeds, as one setting is chosen
        best = np.broadcast_to(best[:, :1], best.shape)
    reached = np.take_along_axis(loss, best[..., None], axis=2)[..., 0]
    mean, half = interval(reached + 0.01 * chance.normal(size=reached.shape))
    return float((np.abs(mean - reached.mean()) <= half).mean())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--real", type=Path)
    real = parser.parse_args().real
    print("coverage of 95 % intervals, by seeds")
    for name, draw, step in (
        ("normal", normal, 0.0),
        ("skewed", skewed, 0.0),
        ("one seed in ten collapses", collapsing, 0.0),
        ("grid, 0.3 points", on_a_grid(0.003), 0.0),
        ("grid, 0.3 points, step known", on_a_grid(0.003), STEP),
        ("grid, 0.1 points", on_a_grid(0.001), 0.0),
        ("grid, 0.1 points, step known", on_a_grid(0.001), STEP),
    ):
        told = (f"{n}: {100 * coverage(draw, n, step):.1f} %" for n in (2, 3, 5, 8))
        print(f"{name}: {', '.join(told)}")
    for name, levels in (("alike", alike), ("unlike", unlike)):
        print(f"\nrows that are {name}: any wrong, share wrong, share found, all ranges hold")
        for rows in (18, 35, 73):
            for seeds in (3, 5, 8):
                raw, adjusted = verdicts(levels(rows), seeds, 400 if rows < 73 else 100)
                told = (" ".join(f"{100 * value:.1f}" for value in one) for one in (raw, adjusted))
                print(f"{rows} rows, {seeds} seeds: raw {next(told)} | adjusted {next(told)}")
    print("\ntwo recipes that are alike, called unlike on a table: plain and widened")
    for rows in (200, 600, 3000):
        print(rows, *(f"{100 * folds(rows, shared):.0f} %" for shared in (0.0, 1.0)))
    print("\ncoverage of tuned rows, by seeds: trials drawn once, and for each seed")
    for seeds in (3, 5, 8):
        print(seeds, *(f"{100 * tuned_rows(seeds, redrawn):.1f} %" for redrawn in (False, True)))
    if real is not None:
        on_real_seeds(real)


if __name__ == "__main__":
    main()
