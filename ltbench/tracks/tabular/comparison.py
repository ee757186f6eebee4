"""Records of many tables become one comparison: differences, average ranks, wins and losses.

Average ranks and their critical difference: Demsar, JMLR 2006.
"""

import math
from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from ltbench.results.record_arrays import machine_of
from ltbench.results.records import Record, Status
from ltbench.scoring.statistics import CONFIDENCE, Cost, Mean, interval, means_of, rounded
from ltbench.tracks.tabular.measures import NAMES, ranking_of
from ltbench.tracks.tabular.parts import Part, parts_of
from ltbench.tracks.tabular.problem import Tabular

Floats = NDArray[np.float64]
Told = tuple[Record, dict[str, Part]]
PLAIN, TUNED = "erm", "threshold"


class Against(Struct, frozen=True):
    """How a recipe stands to a floor row: its difference, and problems won, tied and lost.

    The difference, above zero where the recipe is better, is a mean over tables with its 95 %
    interval over them. A problem, a table with a learner, is won where the 95 % interval over seeds
    lies above zero.
    """

    difference: Mean
    won: int
    tied: int
    lost: int

    @property
    def better(self) -> bool:
        return self.difference.low is not None and self.difference.low > 0


class Compared(Struct, frozen=True):
    """What a recipe is worth over all tables; numbers are means over the problems it can take.

    `brier_over_plain` is a difference on the same problems, as those of F1 are. `whole` says that
    every learner takes the recipe on every table.
    """

    recipe: str
    whole: bool
    brier_over_plain: float | None
    metrics: dict[str, Mean]
    over_plain: Against | None
    over_tuned: Against | None
    average_rank: float | None
    group: str
    by_learner: dict[str, float | None]
    by_table: dict[str, float | None]
    cost: Cost
    status: dict[str, int]
    notes: list[str]


class Friedman(Struct, frozen=True):
    """Whether average ranks differ at all, and by how much two must to be told apart."""

    recipes: int
    tables: int
    statistic: float
    p_value: float
    critical_difference: float


class Comparison(Struct, frozen=True):
    """The rows of one protocol of tables, best first."""

    protocol: str
    version: int
    hash: str
    description: str
    ranking: str
    tables: dict[str, list[int]]
    learners: list[str]
    machines: list[str]
    friedman: Friedman | None
    rows: list[Compared]


def compare(protocol: Tabular, found: Sequence[Record]) -> Comparison:
    """The comparison of a protocol's records, of which there is at least one."""
    told: dict[str, list[Told]] = {recipe: [] for recipe in sorted({one.recipe for one in found})}
    counts: dict[str, list[int]] = {}
    for record in found:
        told[record.recipe].append((record, parts_of(record)))
        counts[record.table] = counts.get(record.table) or record.class_counts
    recipes = list(told)
    tables = [name for name in protocol.tables if name in counts]
    learners = list(protocol.learners)
    values = _values(told, tables, learners)
    measure = ranking_of(protocol.scoring.ranking)
    ranking = measure.sign * values[NAMES.index(measure.name)]
    means = _mean(_mean(values, -1), -1)  # [metrics, recipes, tables]
    floor = {name: recipes.index(name) for name in (PLAIN, TUNED) if name in recipes}
    against = {name: _against(ranking, ranking[row]) for name, row in floor.items()}
    average, groups, friedman = _ranked(_mean(ranking, -1).mean(-1))
    brier = values[NAMES.index("brier")]
    worse = brier - brier[floor[PLAIN]] if PLAIN in floor else np.full_like(brier, np.nan)
    uncalibrated = _mean(_mean(_mean(worse, -1), -1), -1)
    rows = []
    for row, (recipe, own) in enumerate(told.items()):
        parts = [part for _, of in own for part in of.values()]
        status = dict.fromkeys(get_args(Status), 0)
        without = [record.status for record, of in own if not of]
        for outcome in [*(part.status for part in parts), *without]:
            status[outcome] += 1
        by_learner = measure.sign * _mean(_mean(ranking[row], -1), 0)
        by_table = measure.sign * _mean(_mean(ranking[row], -1), 1)
        compared = Compared(
            recipe=recipe,
            whole=average[row] is not None or not np.isnan(_mean(ranking[row], -1)).any(),
            brier_over_plain=rounded(uncalibrated[row]),
            metrics=dict(zip(NAMES, means_of(means[:, row]), strict=True)),
            over_plain=against[PLAIN][row] if PLAIN in against and recipe != PLAIN else None,
            over_tuned=against[TUNED][row] if TUNED in against and recipe != TUNED else None,
            average_rank=average[row],
            group=groups[row],
            by_learner=dict(zip(learners, map(rounded, by_learner.tolist()), strict=True)),
            by_table=dict(zip(tables, map(rounded, by_table.tolist()), strict=True)),
            cost=_cost(parts),
            status=status,
            notes=_notes(own),
        )
        rows.append(compared)
    return Comparison(
        protocol=protocol.name,
        version=protocol.version,
        hash=protocol.hash,
        description=protocol.description,
        ranking=protocol.scoring.ranking,
        tables={name: counts[name] for name in tables},
        learners=learners,
        machines=sorted({machine_of(one) for own in told.values() for one, of in own if of}),
        friedman=friedman,
        rows=[rows[row] for row in _in_order(values, ranking, protocol, floor.get(PLAIN))],
    )


def _values(
    told: Mapping[str, Sequence[Told]], tables: Sequence[str], learners: Sequence[str]
) -> Floats:
    """The measures of all parts, as [names, recipes, tables, learners, seeds]."""
    every = sorted({record.seed for own in told.values() for record, _ in own})
    table, learner, seed = ({one: n for n, one in enumerate(s)} for s in (tables, learners, every))
    values = np.full((len(NAMES), len(told), len(tables), len(learners), len(every)), np.nan)
    for row, own in enumerate(told.values()):
        for record, parts in own:
            for name, part in parts.items():
                place = row, table[record.table], learner[name], seed[record.seed]
                numbers = [part.metrics.get(metric) for metric in NAMES]
                values[:, *place] = np.array(numbers, dtype=np.float64)
    return values


def _mean(values: Floats, axis: int) -> Floats:
    """The mean of what is there; NaN where nothing is."""
    there = ~np.isnan(values)
    n = there.sum(axis=axis)
    total = np.where(there, values, 0.0).sum(axis=axis)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def _against(ranking: Floats, floor: Floats) -> list[Against]:
    """How each recipe stands to a floor row; both [..., tables, learners, seeds]."""
    gaps = ranking - floor
    middle, half = interval(gaps)
    won, lost = middle - half > 0, middle + half < 0  # False where there is nothing
    tied = ~np.isnan(middle) & ~won & ~lost
    counts = np.stack([outcome.sum(axis=(-2, -1)) for outcome in (won, tied, lost)], axis=-1)
    differences = means_of(_mean(_mean(gaps, -1), -1))
    return [
        Against(difference, *count)
        for difference, count in zip(differences, counts.tolist(), strict=True)
    ]


def _ranked(ranking: Floats) -> tuple[list[float | None], list[str], Friedman | None]:
    """Average rank and group of each recipe of [recipes, tables], and the test.

    Only recipes with a value everywhere are ranked. Recipes of one letter are not told apart.
    """
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    whole = np.flatnonzero(~np.isnan(ranking).any(axis=1))
    k, tables = len(whole), ranking.shape[1]
    average: list[float | None] = [None] * len(ranking)
    groups = [""] * len(ranking)
    if k < 3 or tables < 2:
        return average, groups, None
    ranks = rankdata(-ranking[whole], axis=0).mean(axis=1)
    alike = np.ptp(ranks) == 0  # then the test divides by nothing
    statistic, p_value = (0.0, 1.0) if alike else friedmanchisquare(*ranking[whole])
    quantile = studentized_range.isf(1 - CONFIDENCE, k, np.inf) / math.sqrt(2)
    critical = quantile * math.sqrt(k * (k + 1) / (6 * tables))
    order = np.argsort(ranks, kind="stable")
    last, letter = -1, 0
    for first in range(k):
        reach = int(np.flatnonzero(ranks[order] <= ranks[order[first]] + critical)[-1])
        if reach > last:
            for position in order[first : reach + 1]:
                groups[whole[position]] += chr(ord("a") + letter % 26)
            last, letter = reach, letter + 1
    for place, rank in zip(whole, ranks.tolist(), strict=True):
        average[place] = rounded(rank)
    test = Friedman(
        recipes=k,
        tables=tables,
        statistic=round(float(statistic), 4),
        p_value=float(f"{p_value:.3g}"),
        critical_difference=round(float(critical), 4),
    )
    return average, groups, test


def _in_order(values: Floats, ranking: Floats, protocol: Tabular, plain: int | None) -> list[int]:
    """The recipes, best first, by their difference to plain learners on the same problems.

    By the rule "f1-then-g-mean", those that lie within one standard error of the best left are
    ordered by G-mean.
    """
    g_means = values[NAMES.index("g_mean")]
    base = (0.0, 0.0) if plain is None else (ranking[plain], g_means[plain])
    by_table = _mean(_mean(ranking - base[0], -1), -1)  # [recipes, tables]
    second = _mean(_mean(_mean(g_means - base[1], -1), -1), -1)
    first = _mean(by_table, -1)
    left = sorted(range(len(first)), key=lambda row: -np.nan_to_num(first[row], nan=-np.inf))
    if protocol.scoring.ranking != "f1-then-g-mean":
        return left
    ordered: list[int] = []
    while left:
        gaps = by_table[left[0]] - by_table[left]
        n = np.maximum((~np.isnan(gaps)).sum(axis=1), 1)
        middle = _mean(gaps, -1)
        spread = _mean((gaps - middle[:, None]) ** 2, -1) * n / np.maximum(n - 1, 1)
        tied = [row for row, near in zip(left, middle <= np.sqrt(spread / n), strict=True) if near]
        tied = tied or left[:1]
        ordered += sorted(tied, key=lambda row: -np.nan_to_num(second[row], nan=-np.inf))
        left = [row for row in left if row not in tied]
    return ordered


def _cost(parts: Sequence[Part]) -> Cost:
    """The work of all parts together over that of plain learners; else medians."""
    timings = [part.timing for part in parts if part.timing is not None]
    if not timings:
        return Cost(None, None, None, None)
    work, reference = (sum(getattr(t, key) for t in timings) for key in ("work", "reference_work"))
    middle = {key: float(np.median([getattr(t, key) for t in timings])) for key in MEDIANS}
    return Cost(relative=rounded(work / reference), **{k: rounded(v) for k, v in middle.items()})


MEDIANS = ("passes", "seconds", "peak_memory_mb")


def _notes(own: Sequence[Told]) -> list[str]:
    """What the records of a recipe say, each thing once, with the tables and learners it is of."""
    said: dict[str, dict[str, set[str]]] = {}
    for record, parts in own:
        if not parts and record.status != "ok":
            said.setdefault(record.reason, {}).setdefault(record.table, set())
        for learner, part in parts.items():
            notes = part.notes if part.status == "ok" else [*part.notes, part.reason]
            for note in notes:
                said.setdefault(note, {}).setdefault(record.table, set()).add(learner)
    tables = {record.table for record, _ in own}
    learners = {learner for _, parts in own for learner in parts}
    lines = []
    for note, places in said.items():
        with_learners = set().union(*places.values())
        where = [sorted(places)] if places.keys() != tables else []
        where += [sorted(with_learners)] if with_learners not in (learners, set()) else []
        place = "; ".join(", ".join(names) for names in where)
        lines.append(f"{note} ({place})" if place else note)
    return lines
