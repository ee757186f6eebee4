"""Records of many tables become one comparison: differences, average ranks, wins and losses.

Average ranks and their critical difference: Demsar, JMLR 2006. All seeds cut the same rows of a
table anew; intervals over them are widened by that (Nadeau and Bengio, Machine Learning 2003).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from msgspec import Struct

from ltbench.results.record_arrays import machine_of
from ltbench.results.records import Record, Status, Timing
from ltbench.scoring.statistics import (
    CONFIDENCE,
    LEVEL,
    Booleans,
    Cost,
    Floats,
    Integers,
    Limits,
    Mean,
    Resolution,
    adjusted,
    means_of,
    moments,
    p_values,
    resolution,
    rounded,
    rounded_p,
    wanted,
)
from ltbench.tracks.tabular.measures import MEASURES, NAMES, ranking_of
from ltbench.tracks.tabular.parts import Part, parts_of
from ltbench.tracks.tabular.problem import FLOOR, PLAIN, TUNED, Tabular

Told = tuple[Record, dict[str, Part]]
SHARED = 1.0  # rows to test over rows to train, of two folds


class Against(Struct, frozen=True):
    """How a recipe stands to a floor row: its difference, and problems won, tied and lost.

    The difference, above zero where the recipe is better, is a mean over tables with its 95 %
    interval over them; where there is one table, over its seeds. `p` is that of this difference
    alone, `adjusted_p` by Benjamini and Hochberg among those of all recipes to the floor row; None
    where there are too few values to tell. A problem, a table with a learner, is won or lost where
    the 95 % interval over seeds, which is one for its rows, lies above or below zero.
    """

    difference: Mean
    p: float | None
    adjusted_p: float | None
    won: int
    tied: int
    lost: int

    @property
    def better(self) -> bool | None:
        """Whether the difference holds, and is a gain; None where that cannot be told."""
        if self.adjusted_p is None or self.difference.mean is None:
            return None
        return self.adjusted_p <= LEVEL and self.difference.mean > 0


class Compared(Struct, frozen=True):
    """What a recipe is worth over all tables; numbers are means over the problems it can take.

    `brier_over_plain` is a difference on the same problems, as those of F1 are. `whole` says that
    every learner takes the recipe on every table. Of `board_cells`, those that it needs to stand
    beside others, a recipe lacks `missing_cells`; one that lacks any has no rank and stands below.
    """

    recipe: str
    whole: bool
    board_cells: int
    missing_cells: int
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
    """The rows of one protocol of tables, best first; those that lack cells come last.

    Of `wanted` cells, the protocol's tables and seeds of its recipes, or of the rows where these
    are others, `cells` are there. `resolution`
    is that of the differences to the floor row `floor`.
    """

    protocol: str
    version: int
    hash: str
    description: str
    ranking: str
    tables: dict[str, list[int]]
    learners: list[str]
    machines: list[str]
    cells: int
    wanted: int
    floor: str
    resolution: Resolution | None
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
    floor = {name: recipes.index(name) for name in (PLAIN, TUNED) if name in recipes}
    cells = _cells(told, tables, learners)
    needs, lacks = cells.needs(floor.get(PLAIN))
    short = lacks > 0
    on_all = np.asarray(~np.isnan(_mean(ranking, -1)).any(axis=(1, 2)))
    means = _mean(_mean(values, -1), -1)  # [metrics, recipes, tables]
    beside = {name: _Beside.of(ranking - ranking[row], row) for name, row in floor.items()}
    against = {name: one.told(measure.gaps) for name, one in beside.items()}
    average, groups, friedman = _ranked(
        np.where(short[:, None], np.nan, _mean(ranking, -1).mean(-1))
    )
    brier = values[NAMES.index("brier")]
    worse = brier - brier[floor[PLAIN]] if PLAIN in floor else np.full_like(brier, np.nan)
    uncalibrated = _mean(_mean(_mean(worse, -1), -1), -1)
    rows = []
    for row, (recipe, own) in enumerate(told.items()):
        by_learner = measure.sign * _mean(_mean(ranking[row], -1), 0)
        by_table = measure.sign * _mean(_mean(ranking[row], -1), 1)
        compared = Compared(
            recipe=recipe,
            whole=bool(on_all[row] or (short[row] and not cells.skipped[row].any())),
            board_cells=int(needs[row]),
            missing_cells=int(lacks[row]),
            brier_over_plain=rounded(uncalibrated[row]),
            metrics={
                one.name: means_of(numbers[None], one.limits)[0]
                for one, numbers in zip(MEASURES, means[:, row], strict=True)
            },
            over_plain=against[PLAIN][row] if PLAIN in against and recipe != PLAIN else None,
            over_tuned=against[TUNED][row] if TUNED in against and recipe != TUNED else None,
            average_rank=average[row],
            group=groups[row],
            by_learner=dict(zip(learners, map(rounded, by_learner.tolist()), strict=True)),
            by_table=dict(zip(tables, map(rounded, by_table.tolist()), strict=True)),
            cost=_cost(own),
            status=_status(own),
            notes=_notes(own),
        )
        rows.append(compared)
    order = [
        row
        for some in (np.flatnonzero(~short), np.flatnonzero(short))
        for row in _in_order(values, ranking, protocol, floor.get(PLAIN), some.tolist())
    ]
    last = next((name for name in (TUNED, PLAIN) if name in floor), "")
    return Comparison(
        protocol=protocol.name,
        version=protocol.version,
        hash=protocol.hash,
        description=protocol.description,
        ranking=protocol.scoring.ranking,
        tables={name: counts[name] for name in tables},
        learners=learners,
        machines=sorted({machine_of(one) for own in told.values() for one, of in own if of}),
        cells=sum(one.seed < protocol.seeds for one in found),
        wanted=protocol.board_rows(recipes, FLOOR) * len(protocol.tables) * protocol.seeds,
        floor=last,
        resolution=beside[last].resolution() if last else None,
        friedman=friedman,
        rows=[rows[row] for row in order],
    )


@dataclass(frozen=True)
class _Cells:
    """How the cells [recipes, tables x seeds] ended: `good` are those of which no part went wrong
    for this seed alone. `skipped` [recipes, tables, learners, seeds] are parts that were not run.
    """

    there: Booleans
    good: Booleans
    skipped: Booleans

    def needs(self, reference: int | None) -> tuple[Integers, Integers]:
        """How many cells each recipe needs to stand beside the others, and lacks."""
        needed = wanted(self.good, self.there & ~self.good, reference)
        return needed.sum(axis=1), (needed & ~self.good).sum(axis=1)


def _cells(
    told: Mapping[str, Sequence[Told]], tables: Sequence[str], learners: Sequence[str]
) -> _Cells:
    every = sorted({record.seed for own in told.values() for record, _ in own})
    shape = len(told), len(tables), len(learners), len(every)
    there = np.zeros((shape[0], shape[1], shape[3]), dtype=bool)
    skipped, failed, done = np.zeros((3, *shape), dtype=bool)
    for row, own in enumerate(told.values()):
        for record, parts in own:
            table, seed = tables.index(record.table), every.index(record.seed)
            there[row, table, seed] = True
            for k, name in enumerate(learners):
                status = parts[name].status if name in parts else record.status
                skipped[row, table, k, seed] = status == "skipped"
                done[row, table, k, seed] = status == "ok"
                failed[row, table, k, seed] = status not in ("ok", "skipped")
    of_seed = failed | (skipped & done.any(axis=-1, keepdims=True))
    good = there & ~of_seed.any(axis=2)
    return _Cells(there.reshape(len(told), -1), good.reshape(len(told), -1), skipped)


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


@dataclass(frozen=True)
class _Beside:
    """The differences of all recipes to a floor row: on each problem [recipes, tables, learners,
    seeds], and in the mean [recipes, tables], or [recipes, seeds] where there is `one` table.
    """

    gaps: Floats
    over_tables: Floats
    over_seeds: Floats
    one: Booleans
    p: Floats
    adjusted_p: Floats

    @classmethod
    def of(cls, gaps: Floats, row: int) -> "_Beside":
        over_tables = _mean(_mean(gaps, -1), -1)
        over_seeds = _mean(_mean(gaps, 2), 1)
        one = (~np.isnan(over_tables)).sum(axis=-1) == 1
        p = np.where(one, p_values(over_seeds, shared=SHARED), p_values(over_tables))
        p[row] = np.nan
        return cls(gaps, over_tables, over_seeds, one, p, adjusted(p))

    def told(self, limits: Limits | None) -> list[Against]:
        """How each recipe stands."""
        differences = [
            of_seeds if one else of_tables
            for one, of_seeds, of_tables in zip(
                self.one.tolist(),
                means_of(self.over_seeds, limits, shared=SHARED),
                means_of(self.over_tables, limits),
                strict=True,
            )
        ]
        middle = _mean(self.gaps, -1)
        holds = p_values(self.gaps, shared=SHARED) <= 1 - CONFIDENCE
        won, lost = holds & (middle > 0), holds & (middle < 0)
        tied = ~np.isnan(middle) & ~holds
        counts = np.stack([outcome.sum(axis=(1, 2)) for outcome in (won, tied, lost)], axis=-1)
        ps = zip(*(map(rounded_p, one.tolist()) for one in (self.p, self.adjusted_p)), strict=True)
        return [
            Against(difference, *both, *count)
            for difference, both, count in zip(differences, ps, counts.tolist(), strict=True)
        ]

    def resolution(self) -> Resolution:
        """What the differences can tell, over tables or, if there is one, over seeds."""
        alone = bool(self.one.all())
        n, _, spread = moments(self.over_seeds if alone else self.over_tables)
        return resolution(n, spread, self.adjusted_p, SHARED if alone else 0.0)


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


def _in_order(
    values: Floats, ranking: Floats, protocol: Tabular, plain: int | None, rows: list[int]
) -> list[int]:
    """Some recipes, best first, by their difference to plain learners on the same problems.

    By the rule "f1-then-g-mean", those that lie within one standard error of the best left are
    ordered by G-mean.
    """
    g_means = values[NAMES.index("g_mean")]
    base = (0.0, 0.0) if plain is None else (ranking[plain], g_means[plain])
    by_table = _mean(_mean(ranking - base[0], -1), -1)  # [recipes, tables]
    second = _mean(_mean(_mean(g_means - base[1], -1), -1), -1)
    first = _mean(by_table, -1)
    left = sorted(rows, key=lambda row: -np.nan_to_num(first[row], nan=-np.inf))
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


def _cost(own: Sequence[Told]) -> Cost:
    """The work of all parts together over that of plain learners, and its range over seeds; else
    medians."""
    timed = [(one.seed, part.timing) for one, of in own for part in of.values() if part.timing]
    if not timed:
        return Cost(None, None, None, None, None, None)
    of_seeds = [
        _over_plain([timing for seed, timing in timed if seed == one])
        for one in {seed for seed, _ in timed}
    ]
    middle = [float(np.median([getattr(timing, key) for _, timing in timed])) for key in MEDIANS]
    return Cost(
        rounded(_over_plain([timing for _, timing in timed])),
        rounded(min(of_seeds)),
        rounded(max(of_seeds)),
        *map(rounded, middle),
    )


def _over_plain(timings: Sequence[Timing]) -> float:
    work, reference = (sum(getattr(t, key) for t in timings) for key in ("work", "reference_work"))
    return float(work / reference)


MEDIANS = ("passes", "work", "peak_memory_mb")


def _status(own: Sequence[Told]) -> dict[str, int]:
    """How many parts of a recipe ended how; a cell that has none counts as one."""
    status = dict.fromkeys(get_args(Status), 0)
    for record, parts in own:
        for outcome in [part.status for part in parts.values()] or [record.status]:
            status[outcome] += 1
    return status


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
