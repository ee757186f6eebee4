"""Records side by side as arrays, so that very many make a leaderboard quickly."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from ltbench.results.provenance import Made, made
from ltbench.results.records import Record, Status

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

COSTS = ("relative", "passes", "work", "peak_memory_mb")


class Kind(Struct, frozen=True):
    """What many records have in common; `classes` are how many their rows have, 0 if not told."""

    version: int
    hash: str
    fingerprint: str
    table: str
    track: str
    status: Status
    reason: str
    notes: tuple[str, ...]
    machine: str | None
    control: bool
    classes: int
    made: Made


@dataclass(frozen=True)
class Columns:
    """N records: numbers [N, ...] as arrays, and all else told once for those that share it.

    `measures` are in the order of `names`, `costs` in that of `COSTS`; NaN where there is none.
    `whole` holds, by position, the records that used test inputs and so tell more than that.
    """

    names: tuple[str, ...]

    recipes: list[str]
    recipe: Integers
    seed: Integers
    measures: Floats
    costs: Floats
    kinds: list[Kind]
    kind: Integers
    whole: dict[int, Record] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.recipe)


def columns(found: Sequence[Record], names: tuple[str, ...] = ()) -> Columns:
    """Records as columns, in their order, with the measures of some names."""
    recipes: dict[str, int] = {}
    kinds: dict[Kind, int] = {}
    return Columns(
        recipe=_integers(recipes.setdefault(one.recipe, len(recipes)) for one in found),
        seed=_integers(one.seed for one in found),
        names=names,
        measures=_floats([[*map(one.measures.get, names)] for one in found], len(names)),
        costs=_floats([_costs(one) for one in found], len(COSTS)),
        kind=_integers(kinds.setdefault(_kind(one), len(kinds)) for one in found),
        recipes=list(recipes),
        kinds=list(kinds),
        whole={n: one for n, one in enumerate(found) if one.transductive is not None},
    )


def joined(parts: Sequence[Columns]) -> Columns:
    """The columns of several, one below the other; all have measures of the same names."""
    recipes: dict[str, int] = {}
    kinds: dict[Kind, int] = {}
    for part in parts:
        for recipe in part.recipes:
            recipes.setdefault(recipe, len(recipes))
        for kind in part.kinds:
            kinds.setdefault(kind, len(kinds))
    of_recipe = [_integers(map(recipes.__getitem__, part.recipes))[part.recipe] for part in parts]
    of_kind = [_integers(map(kinds.__getitem__, part.kinds))[part.kind] for part in parts]
    starts = np.cumsum([0, *map(len, parts)])
    return Columns(
        parts[0].names,
        list(recipes),
        np.concatenate(of_recipe),
        np.concatenate([part.seed for part in parts]),
        np.concatenate([part.measures for part in parts]),
        np.concatenate([part.costs for part in parts]),
        list(kinds),
        np.concatenate(of_kind),
        {
            int(start) + n: record
            for start, part in zip(starts, parts, strict=False)
            for n, record in part.whole.items()
        },
    )


def taken(part: Columns, rows: Integers) -> Columns:
    """Some of the rows of columns, each once."""
    place = {int(row): n for n, row in enumerate(rows)} if part.whole else {}
    return Columns(
        part.names,
        part.recipes,
        part.recipe[rows],
        part.seed[rows],
        part.measures[rows],
        part.costs[rows],
        part.kinds,
        part.kind[rows],
        {place[row]: record for row, record in part.whole.items() if row in place},
    )


def machine_of(record: Record) -> str:
    environment = record.environment
    processor = environment.get("gpu") or environment.get("cpu")
    threads = environment.get("threads")
    return f"{processor}, threads a cell: {threads}, torch {environment.get('torch')}"


def _kind(record: Record) -> Kind:
    return Kind(
        record.version,
        record.hash,
        record.fingerprint,
        record.table,
        record.track,
        record.status,
        record.reason,
        tuple(record.notes),
        machine_of(record) if record.timing is not None else None,
        record.control,
        len(record.class_counts),
        made(record),
    )


def _costs(record: Record) -> list[float | None]:
    timing = record.timing
    return [None if timing is None else getattr(timing, name) for name in COSTS]


def _integers(numbers: Iterable[int]) -> Integers:
    return np.fromiter(numbers, np.int64)


def _floats(rows: list[list[float | None]], width: int) -> Floats:
    return np.array(rows, dtype=np.float64).reshape(len(rows), width)
