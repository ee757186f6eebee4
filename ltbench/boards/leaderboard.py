"""Records become a leaderboard: means over seeds, intervals, shared ranks and costs."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, get_args

import numpy as np
from msgspec import Struct, structs

from ltbench.boards.order import Order
from ltbench.boards.published import Quoted
from ltbench.contract.track import Grid, Table, Track
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.results.record_arrays import Columns, Kind, columns
from ltbench.results.records import Record, Status
from ltbench.results.submissions import Submission
from ltbench.scoring.measures import Measure, stored
from ltbench.scoring.statistics import (
    LEAST,
    NOTHING,
    Booleans,
    Cost,
    Differences,
    Floats,
    Integers,
    Mean,
    Pairs,
    Resolution,
    best_first,
    costs_of,
    differences,
    interval,
    means_of,
    medians,
    p_values,
    pairs_of,
    rank_ranges,
    resolution,
    rounded,
    rounded_p,
    wanted,
)


class Contrast(Struct, frozen=True):
    """The paired difference of two recipes, first minus second, and its standard error.

    `told` says that there are seeds enough, and spread, to tell something. `recovered` is the
    gain's share of what imbalance costs the second, where the track measures that and it does cost
    something.
    """

    first: str
    second: str
    seeds: int
    difference: Mean
    error: float | None
    told: bool
    recovered: float | None = None


class Row(Struct, frozen=True, kw_only=True):
    """What a recipe is worth; `delta` is the paired difference to the reference.

    Its interval is that of this difference alone, and so is `delta_p`; `delta_adjusted_p` is for
    all pairs of rows that are ranked. `delta_rows_error` is the standard error that the test rows
    give it beside the seeds, where that was asked for and can be told. Of `board_seeds`, those that
    it needs to stand beside others, a row lacks `missing_seeds`; one that lacks any has no rank and
    stands below. `control` says that it stands outside of what is ranked. `submission` tells of a
    row that was submitted; one that was made with more than the protocol gives is `apart`: it is
    ranked among its like.
    """

    recipe: str
    rank: tuple[int, int] | None
    seeds: int
    board_seeds: int
    missing_seeds: int
    measures: dict[str, Mean]
    delta: Mean | None
    delta_p: float | None
    delta_adjusted_p: float | None
    cost: Cost
    status: dict[str, int]
    transductive: dict[str, Mean] | None
    notes: list[str]
    control: bool = False
    delta_rows_error: float | None = None
    submission: Submission | None = None

    @property
    def apart(self) -> bool:
        return self.submission is not None and bool(self.submission.resources.beyond)


class Verified(Struct, frozen=True):
    """What `by` whom came of running cells of a row again: of `cells` on the board so many
    gave the `same` bits, or came `close`; `different` says which did not, and what differed."""

    recipe: str
    by: str
    cells: int
    same: int
    close: int
    different: list[str] = []


class Leaderboard(Struct, frozen=True, kw_only=True):
    """The rows of one protocol, best first; those that lack seeds or any finished cell come last.

    Of `wanted` cells, the protocol's seeds of its recipes, or of the rows where these are others,
    `cells` are there, and `seeds` are all of which any is. `asked` are the measures that the
    protocol asks for, the one that ranks first; `measures` tell of all. `reference` is the recipe
    that the others are set against; `quoted` are figures that others published for the problem.
    `order` says how far its rows stand as others published. `pairs` are the differences of each two
    rows that are ranked. `doing` and `unit` say what a cost
    is of, and in what. `remarks` are what is to be known of the board as a whole.
    """

    protocol: str
    version: int
    hash: str
    track: str
    description: str
    asked: list[str]
    measures: list[Measure]
    tables: list[Table]
    machines: list[str]
    cells: int
    wanted: int
    seeds: list[int]
    resolution: Resolution
    rows: list[Row]
    reference: str
    doing: str
    unit: str
    pairs: Differences | None = None
    contrasts: list[Contrast] = []
    quoted: list[Quoted] = []
    order: Order | None = None
    remarks: list[str] = []
    verified: list[Verified] = []

    def measure(self, name: str) -> Measure:
        return next(measure for measure in self.measures if measure.name == name)


Elsewhere = Callable[[str, str], Mapping[tuple[str, int], float | None]]
"""Gives a measure of the records of another protocol, by recipe and seed."""


def nowhere(protocol: str, measure: str) -> Mapping[tuple[str, int], float | None]:
    """No records of other protocols."""
    return {}


def build(
    track: Track[Any],
    protocol: Protocol,
    found: Columns | Sequence[Record],
    elsewhere: Elsewhere = nowhere,
    published: Sequence[Quoted] = (),
    remarks: Sequence[str] = (),
    submitted: Mapping[str, Submission] = MappingProxyType({}),
) -> Leaderboard:
    """The leaderboard of a protocol's records, of which there is at least one.

    `submitted` tells by recipe of rows that came from elsewhere.
    """
    names = stored(track.measures)
    told = found if isinstance(found, Columns) else columns(found, names)
    cells = _Cells.of(told)
    values = dict(zip(names, cells.grid(told.measures), strict=True))
    values |= track.derived(protocol, Grid(values, cells.recipes, cells.seeds.tolist(), elsewhere))
    asked = track.shown(protocol)
    first = track.measure(asked[0])
    step = track.step(protocol, first.name, max(kind.classes for kind in told.kinds))
    beyond = {recipe for recipe, one in submitted.items() if one.resources.beyond}
    ranking = _Ranking.of(first, cells, values, track.reference, step or 0.0, beyond)
    rows, order = _rows(track, cells, values, ranking), ranking.order()
    return Leaderboard(
        protocol=protocol.name,
        version=protocol.version,
        hash=protocol.hash,
        track=protocol.track,
        description=protocol.description,
        asked=asked,
        measures=[
            structs.replace(one, explanation=_filled(one.explanation, one.name, protocol))
            for one in track.measures
        ],
        tables=[
            structs.replace(
                one,
                before=tuple(_filled(said, one.name, protocol) for said in one.before),
                after=tuple(_filled(said, one.name, protocol) for said in one.after),
            )
            for one in track.tables
        ],
        machines=sorted({kind.machine for kind in told.kinds if kind.machine is not None}),
        cells=int((told.seed < protocol.seeds).sum()),
        wanted=protocol.board_rows(cells.recipes, track.floor) * protocol.seeds,
        seeds=cells.seeds.tolist(),
        resolution=resolution(ranking.pairs.n, ranking.pairs.spread, ranking.pairs.adjusted),
        rows=[structs.replace(rows[k], submission=submitted.get(rows[k].recipe)) for k in order],
        reference=track.reference,
        doing=track.doing,
        unit=track.unit,
        pairs=differences(ranking.pairs, cells.recipes, order, first.sign),
        contrasts=[
            _contrast(ranking, pair, one, other, values.get(track.loss))
            for pair in protocol.contrasts
            for one, other in [map(cells.row_of, pair)]
            if one is not None and other is not None
        ],
        quoted=list(published),
        remarks=list(remarks),
    )


@dataclass(frozen=True)
class _Cells:
    """Where the N records of a board stand in a grid of its recipes and seeds."""

    told: Columns
    recipes: list[str]
    seeds: Integers
    row: Integers
    column: Integers

    @classmethod
    def of(cls, told: Columns) -> "_Cells":
        recipes = sorted(told.recipes)
        place = {recipe: row for row, recipe in enumerate(recipes)}
        row = np.array([place[recipe] for recipe in told.recipes], dtype=np.int64)
        seeds, column = np.unique(told.seed, return_inverse=True)
        return cls(told, recipes, seeds, row[told.recipe], column)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.recipes), len(self.seeds)

    def row_of(self, recipe: str) -> int | None:
        return self.recipes.index(recipe) if recipe in self.recipes else None

    def grid(self, numbers: Floats, at: Any = slice(None)) -> Floats:
        """Numbers [N, ...] of each record, or of those `at`, as [numbers, recipes, seeds]."""
        filled = np.full((numbers.shape[1], *self.shape), np.nan)
        filled[:, self.row[at], self.column[at]] = numbers.T
        return filled

    def of_kinds(self, asked: Callable[[Kind], bool]) -> Booleans:
        """Which cells [recipes, seeds] have a record of which something is so."""
        cells = np.zeros(self.shape, dtype=bool)
        so = np.array([asked(kind) for kind in self.told.kinds], dtype=bool)[self.told.kind]
        cells[self.row[so], self.column[so]] = True
        return cells


@dataclass(frozen=True)
class _Ranking:
    """What ranks: a measure in all cells [recipes, seeds], which of them a row needs and which of
    these it lacks, and the pairs of the rows that are ranked, neither controls nor lacking any.
    Those made with more than the protocol gives are ranked among themselves, `beyond`."""

    measure: Measure
    reached: Floats
    step: float
    reference: int | None
    needs: Booleans
    lacks: Booleans
    controls: Booleans
    pairs: Pairs
    beyond: Pairs

    @classmethod
    def of(
        cls,
        measure: Measure,
        cells: _Cells,
        values: Mapping[str, Floats],
        reference: str,
        step: float,
        beyond: Collection[str] = (),
    ) -> "_Ranking":
        reached = values.get(measure.name, np.full(cells.shape, np.nan))
        row = cells.row_of(reference)
        finished = np.isfinite(reached)
        needs = wanted(finished, cells.of_kinds(lambda kind: kind.status != "ok"), row)
        lacks: Booleans = needs & ~finished
        controls = np.asarray(cells.of_kinds(lambda kind: kind.control).any(axis=1))
        outside = controls | lacks.any(axis=1)
        apart = np.array([recipe in beyond for recipe in cells.recipes], dtype=bool)
        pairs, others = (
            pairs_of(np.where((outside | left)[:, None], np.nan, measure.sign * reached), step)
            for left in (apart, ~apart)
        )
        return cls(measure, reached, step, row, needs, lacks, controls, pairs, others)

    def gaps(self, other: int | None) -> Floats:
        """The differences to a row [recipes, seeds]."""
        return self.reached - (np.nan if other is None else self.reached[other])

    def order(self) -> list[int]:
        """The best row first; those that lack a cell come after, those without a value last."""
        short = np.asarray(self.lacks.any(axis=1))
        return best_first(self.measure.sign * self.reached, short)


def _rows(
    track: Track[Any], cells: _Cells, values: Mapping[str, Floats], ranking: _Ranking
) -> list[Row]:
    """A row for each recipe, in the order of the cells."""
    recipes, first, step = len(cells.recipes), ranking.measure, ranking.step
    gaps = ranking.gaps(ranking.reference)
    deltas, alone = means_of(gaps, first.gaps, step), p_values(gaps, step)
    among = ranking.pairs.to(ranking.reference)
    ranks = [_ranks(ranking.pairs), _ranks(ranking.beyond)]
    means = {measure.name: _typical(measure, values, recipes) for measure in track.measures}
    adapted = _adapted(track, cells)
    costs = costs_of(cells.grid(cells.told.costs))
    status, notes = _status(cells), _notes(cells)
    if ranking.reference is not None and deltas[ranking.reference].mean is not None:
        deltas[ranking.reference] = Mean(0.0, None, None)
    return [
        Row(
            recipe=recipe,
            rank=ranks[0].get(k, ranks[1].get(k)),
            seeds=status[k]["ok"],
            board_seeds=int(ranking.needs[k].sum()),
            missing_seeds=int(ranking.lacks[k].sum()),
            measures={name: mean[k] for name, mean in means.items()},
            delta=deltas[k] if deltas[k].mean is not None else None,
            delta_p=rounded_p(alone[k]) if k != ranking.reference else None,
            delta_adjusted_p=rounded_p(among[k]),
            cost=costs[k],
            status=status[k],
            transductive=_if_any({name: mean[k] for name, mean in adapted.items()}),
            notes=notes[k],
            control=bool(ranking.controls[k]),
        )
        for k, recipe in enumerate(cells.recipes)
    ]


def _ranks(pairs: Pairs) -> dict[int, tuple[int, int]]:
    """The range of ranks of each row that these are the pairs of."""
    best, worst = rank_ranges(pairs)
    return {int(k): (int(best[k]), int(worst[k])) for k in np.flatnonzero(pairs.scored)}


def _typical(measure: Measure, values: Mapping[str, Floats], recipes: int) -> list[Mean]:
    """What a row shows of a measure; nothing where it was not derived."""
    if measure.name not in values:
        return [NOTHING] * recipes
    if measure.typical == "mean":
        return means_of(values[measure.name], measure.limits)
    return [Mean(middle, None, None) for (middle,) in medians(values[measure.name][None])]


def _adapted(track: Track[Any], cells: _Cells) -> dict[str, list[Mean]]:
    """The measures of records that used test inputs, for each recipe."""
    whole = cells.told.whole
    kept = [measure for measure in track.measures if measure.stored]
    every = [[(one.transductive or {}).get(kind.name) for kind in kept] for one in whole.values()]
    if not every:
        return {}
    numbers = cells.grid(np.array(every, dtype=np.float64), list(whole))
    return {
        kind.name: means_of(number, kind.limits) for kind, number in zip(kept, numbers, strict=True)
    }


def _filled(said: str, owner: str, protocol: Protocol) -> str:
    """What a measure or table says, with fields of the protocol put in.

    Raises:
        LTBenchError: the protocol has no such field.
    """
    try:
        return said.format(protocol)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise LTBenchError(
            f"what track {protocol.track} says of {owner} asks for what {protocol.name} lacks: "
            f"{error}"
        ) from None


def _if_any(means: dict[str, Mean]) -> dict[str, Mean] | None:
    return means if any(mean.mean is not None for mean in means.values()) else None


def _contrast(
    ranking: _Ranking, pair: tuple[str, str], one: int, other: int, losses: Floats | None
) -> Contrast:
    gaps = ranking.gaps(other)[one]
    known = ~np.isnan(gaps)
    n = int(known.sum())
    spread = max(float(np.nanstd(gaps, ddof=1)), ranking.step) if n > 1 else math.nan
    told = not math.isnan(p_values(gaps, ranking.step))
    recovered = None
    if losses is not None and n >= LEAST:
        lost, half = interval(losses[other][known])
        if lost - half > 0:  # a share of what may be nothing says nothing
            recovered = rounded(ranking.measure.sign * gaps[known].mean() / lost)
    difference = means_of(gaps[None], ranking.measure.gaps, ranking.step)[0]
    return Contrast(*pair, n, difference, rounded(spread / math.sqrt(max(n, 1))), told, recovered)


def _status(cells: _Cells) -> list[dict[str, int]]:
    """How many records of each recipe ended how."""
    told, row, recipes = cells.told, cells.row, len(cells.recipes)
    known = list(get_args(Status))
    of_kind = np.array([known.index(kind.status) for kind in told.kinds], dtype=np.int64)
    counts = np.bincount(row * len(known) + of_kind[told.kind], minlength=recipes * len(known))
    return [
        dict(zip(known, counted, strict=True))
        for counted in counts.reshape(recipes, len(known)).tolist()
    ]


def _notes(cells: _Cells) -> list[list[str]]:
    """What the records of each recipe note, each once, and why some failed."""
    told, row, recipes = cells.told, cells.row, len(cells.recipes)
    failed = np.array([kind.status != "ok" for kind in told.kinds], dtype=bool)
    pair = row * len(told.kinds) + told.kind
    first = np.full(recipes * len(told.kinds), -1)
    first[pair[::-1]] = np.arange(len(told))[::-1]  # of equal ones the last written stays
    first = first[first >= 0]
    notes: list[dict[str, None]] = [{} for _ in range(recipes)]
    for n in np.union1d(first, np.flatnonzero(failed[told.kind])).tolist():
        kind = told.kinds[told.kind[n]]
        said = list(kind.notes)
        if kind.status != "ok":
            said.append(f"seed {told.seed[n]} {kind.status}: {kind.reason}")
        notes[row[n]].update(dict.fromkeys(said))
    return [list(said) for said in notes]
