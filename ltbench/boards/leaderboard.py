"""Records become a leaderboard: means over seeds, intervals, shared ranks and costs."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from ltbench.boards.published import Quoted
from ltbench.contract.track import Grid, Table, Track
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.results.record_arrays import Columns, columns
from ltbench.results.records import Record, Status
from ltbench.scoring.measures import Measure, stored
from ltbench.scoring.statistics import (
    Cost,
    Mean,
    interval,
    means_of,
    medians,
    rank_ranges,
    rounded,
)

Floats = NDArray[np.float64]


class Contrast(Struct, frozen=True):
    """The paired difference of two recipes, first minus second, and its standard error.

    `recovered` is the gain's share of what imbalance costs the second, where the track measures
    that and it does cost something.
    """

    first: str
    second: str
    difference: Mean
    error: float | None
    recovered: float | None = None


class Row(Struct, frozen=True):
    """What a recipe is worth; `delta` is the paired difference to the reference.

    `control` says that it stands outside of what is ranked.
    """

    recipe: str
    rank: tuple[int, int] | None
    seeds: int
    measures: dict[str, Mean]
    delta: Mean | None
    cost: Cost
    status: dict[str, int]
    transductive: dict[str, Mean] | None
    notes: list[str]
    control: bool = False


class Leaderboard(Struct, frozen=True):
    """The rows of one protocol, best first; those without a finished cell come last.

    `asked` are the measures that the protocol asks for, the one that ranks first; `measures` tell
    of all. `reference` is the recipe that the others are set against; `quoted` are figures that
    others published for the problem, `mixture` what is to be said of records that are not all of
    one code or machine. `doing` and `unit` say what a cost is of, and in what.
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
    rows: list[Row]
    reference: str
    doing: str
    unit: str
    contrasts: list[Contrast] = []
    quoted: list[Quoted] = []
    mixture: list[str] = []

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
    mixture: Sequence[str] = (),
) -> Leaderboard:
    """The leaderboard of a protocol's records, of which there is at least one."""
    names = stored(track.measures)
    told = found if isinstance(found, Columns) else columns(found, names)
    recipes = sorted(told.recipes)
    seeds, column = np.unique(told.seed, return_inverse=True)
    row_of = {recipe: row for row, recipe in enumerate(recipes)}
    row = np.array([row_of[recipe] for recipe in told.recipes])[told.recipe]

    def grid(numbers: Floats, at: Any = slice(None)) -> Floats:
        """Numbers [N, ...] of each record, or of those `at`, as [numbers, recipes, seeds]."""
        filled = np.full((numbers.shape[1], len(recipes), len(seeds)), np.nan)
        filled[:, row[at], column[at]] = numbers.T
        return filled

    values = dict(zip(names, grid(told.measures), strict=True))
    values |= track.derived(protocol, Grid(values, recipes, seeds.tolist(), elsewhere))
    means = {measure.name: _typical(measure, values, len(recipes)) for measure in track.measures}
    asked = track.shown(protocol)
    first = track.measure(asked[0])
    reached = values.get(first.name, np.full((len(recipes), len(seeds)), np.nan))
    controls = _controls(told, row, len(recipes))
    best, worst = rank_ranges(np.where(controls[:, None], np.nan, first.sign * reached))
    plain = np.full(len(seeds), np.nan)
    if track.reference in row_of:
        plain = reached[row_of[track.reference]]
    deltas = means_of(reached - plain)
    adapted = {name: means_of(value) for name, value in _adapted(told, names, grid).items()}
    costs = medians(grid(told.costs))
    status, notes = _status(told, row, len(recipes)), _notes(told, row, len(recipes))
    table = [
        Row(
            recipe=recipe,
            rank=(int(best[k]), int(worst[k])) if status[k]["ok"] and not controls[k] else None,
            seeds=status[k]["ok"],
            measures={name: mean[k] for name, mean in means.items()},
            delta=deltas[k] if deltas[k].mean is not None else None,
            cost=Cost(*costs[k]),
            status=status[k],
            transductive=_if_any({name: mean[k] for name, mean in adapted.items()}),
            notes=notes[k],
            control=bool(controls[k]),
        )
        for k, recipe in enumerate(recipes)
    ]
    table.sort(key=lambda one: (_worse(first, one.measures[first.name].mean), one.recipe))
    losses = values.get(track.loss)
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
        rows=table,
        reference=track.reference,
        doing=track.doing,
        unit=track.unit,
        quoted=list(published),
        mixture=list(mixture),
        contrasts=[
            _contrast(
                first,
                (one, other),
                reached[row_of[one]] - reached[row_of[other]],
                losses[row_of[other]] if losses is not None else None,
            )
            for one, other in protocol.contrasts
            if one in row_of and other in row_of
        ],
    )


def _typical(measure: Measure, values: Mapping[str, Floats], recipes: int) -> list[Mean]:
    """What a row shows of a measure; nothing where it was not derived."""
    if measure.name not in values:
        return [Mean(None, None, None)] * recipes
    if measure.typical == "mean":
        return means_of(values[measure.name])
    return [Mean(middle, None, None) for (middle,) in medians(values[measure.name][None])]


def _controls(told: Columns, row: NDArray[np.int64], recipes: int) -> NDArray[np.bool_]:
    """Which recipes stand outside of what is ranked."""
    outside = np.array([kind.control for kind in told.kinds], dtype=bool)[told.kind]
    controls = np.zeros(recipes, dtype=bool)
    controls[row[outside]] = True
    return controls


def _adapted(told: Columns, names: Sequence[str], grid: Any) -> dict[str, Floats]:
    """The measures of records that used test inputs, as [recipes, seeds]."""
    every = [[(one.transductive or {}).get(name) for name in names] for one in told.whole.values()]
    if not every:
        return {}
    numbers = np.array(every, dtype=np.float64)
    return dict(zip(names, grid(numbers, list(told.whole)), strict=True))


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


def _worse(measure: Measure, value: float | None) -> float:
    """A key by which the best comes first and what has no value last."""
    return math.inf if value is None else -measure.sign * value


def _if_any(means: dict[str, Mean]) -> dict[str, Mean] | None:
    return means if any(mean.mean is not None for mean in means.values()) else None


def _contrast(
    measure: Measure, pair: tuple[str, str], gaps: Floats, losses: Floats | None
) -> Contrast:
    known = ~np.isnan(gaps)
    n = int(known.sum())
    error = rounded(float(np.nanstd(gaps, ddof=1)) / math.sqrt(n)) if n > 1 else None
    recovered = None
    if losses is not None and n:
        lost, half = interval(losses[known])
        if lost - half > 0:  # a share of what may be nothing says nothing
            recovered = rounded(measure.sign * gaps[known].mean() / lost)
    return Contrast(*pair, means_of(gaps[None])[0], error, recovered)


def _status(told: Columns, row: NDArray[np.int64], recipes: int) -> list[dict[str, int]]:
    """How many records of each recipe ended how."""
    known = list(get_args(Status))
    of_kind = np.array([known.index(kind.status) for kind in told.kinds], dtype=np.int64)
    counts = np.bincount(row * len(known) + of_kind[told.kind], minlength=recipes * len(known))
    return [
        dict(zip(known, counted, strict=True))
        for counted in counts.reshape(recipes, len(known)).tolist()
    ]


def _notes(told: Columns, row: NDArray[np.int64], recipes: int) -> list[list[str]]:
    """What the records of each recipe note, each once, and why some failed."""
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
