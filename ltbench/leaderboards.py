"""Records become a leaderboard: means over seeds, intervals, shared ranks and costs."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from ltbench import index, records
from ltbench.columns import Columns, columns
from ltbench.errors import LTBenchError
from ltbench.metrics import NAMES, relative_accuracy
from ltbench.protocols import Compression, Distillation, Protocol, Recognition, Tabular
from ltbench.quoted import Quoted, quoted
from ltbench.records import Compressed, Distilled, Record, Rejected, Status
from ltbench.registry import Registry, registry_of
from ltbench.statistics import interval, rank_ranges

if TYPE_CHECKING:
    import pandas

    from ltbench.comparisons import Comparison

Floats = NDArray[np.float64]
REFERENCE = "erm"
OF_DISTILLED = "random"  # what a distilled set must beat
WHOLE = "full"  # what it is a fraction of
OF_COMPRESSED = "bp"  # pruned, then trained plainly
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


class Contrast(Struct, frozen=True):
    """The paired difference of two recipes, first minus second, and its standard error.

    `recovered` is its share of what imbalance costs the second, where networks are compressed and
    it does cost something.
    """

    first: str
    second: str
    difference: Mean
    error: float | None
    recovered: float | None = None


class Row(Struct, frozen=True):
    """What a recipe is worth; `delta` is the paired difference to the reference.

    `distilled` is of distillation alone and `compressed` of compression; their numbers are medians
    over seeds.
    """

    recipe: str
    rank: tuple[int, int] | None
    seeds: int
    metrics: dict[str, Mean]
    delta: Mean | None
    cost: Cost
    status: dict[str, int]
    transductive: dict[str, Mean] | None
    notes: list[str]
    distilled: Distilled | None = None
    compressed: Compressed | None = None


class Leaderboard(Struct, frozen=True):
    """The rows of one protocol, best first; those without a finished cell come last.

    `reference` is the recipe that the others are set against; `quoted` are figures that others
    published for the problem.
    """

    protocol: str
    version: int
    hash: str
    description: str
    metrics: list[str]
    machines: list[str]
    rows: list[Row]
    reference: str = REFERENCE
    contrasts: list[Contrast] = []
    quoted: list[Quoted] = []


def build(
    protocol: Recognition, found: Columns | Sequence[Record], balanced: Sequence[Record] = ()
) -> Leaderboard:
    """The leaderboard of a protocol's records, of which there is at least one.

    `balanced` are records of the protocol's balanced twin, which relative accuracy needs.
    """
    told = found if isinstance(found, Columns) else columns(found)
    recipes = sorted(told.recipes)
    seeds, column = np.unique(told.seed, return_inverse=True)
    row_of = {recipe: row for row, recipe in enumerate(recipes)}
    row = np.array([row_of[recipe] for recipe in told.recipes])[told.recipe]

    def grid(numbers: Floats, at: Any = slice(None)) -> Floats:
        """Numbers [N, ...] of each record, or of those `at`, as [numbers, recipes, seeds]."""
        filled = np.full((numbers.shape[1], len(recipes), len(seeds)), np.nan)
        filled[:, row[at], column[at]] = numbers.T
        return filled

    values = grid(told.metrics)
    relative = _relative(values[NAMES.index("accuracy")], recipes, seeds, balanced)
    values = np.concatenate([values, relative[None]])
    names = [*NAMES, "relative_accuracy"]
    reference = REFERENCE
    if isinstance(protocol, Distillation):
        reference, names = OF_DISTILLED, [*names, "retention"]
        accuracy = values[NAMES.index("accuracy")]
        full = accuracy[row_of[WHOLE]] if WHOLE in row_of else np.full(len(seeds), np.nan)
        values = np.concatenate([values, (accuracy / full)[None]])
    first, losses = protocol.scoring.metrics[0], None
    if isinstance(protocol, Compression):
        reference, names = OF_COMPRESSED, [*names, "twin", "imbalance_loss"]
        twin = grid(*_of_whole(told, lambda one: [_twin(one, first)]))
        values = np.concatenate([values, twin, twin - values[names.index(first)]])
        losses = values[-1]
    means = dict(zip(names, map(means_of, values), strict=True))
    transductive = grid(*_of_whole(told, lambda one: [*map((one.transductive or {}).get, NAMES)]))
    adapted = dict(zip(NAMES, map(means_of, transductive), strict=True))
    costs = _medians(grid(told.costs))
    ranking = values[names.index(first)]
    sets: list[list[Distilled]] = [[] for _ in recipes]
    networks: list[list[Compressed]] = [[] for _ in recipes]
    for n, record in told.whole.items():
        if record.distilled is not None:
            sets[row[n]].append(record.distilled)
        if record.compressed is not None:
            networks[row[n]].append(record.compressed)
    distilled = [_typical(told) if told else None for told in sets]
    compressed = [_usual(told) if told else None for told in networks]
    controls = [told or other for told, other in zip(distilled, compressed, strict=True)]
    ranked = np.array([told is None or not told.control for told in controls])
    best, worst = rank_ranges(np.where(ranked[:, None], ranking, np.nan))
    plain = ranking[row_of[reference]] if reference in row_of else np.full(len(seeds), np.nan)
    deltas = means_of(ranking - plain)
    status, notes = _status(told, row, len(recipes)), _notes(told, row, len(recipes))
    table = [
        Row(
            recipe=recipe,
            rank=(int(best[k]), int(worst[k])) if status[k]["ok"] and ranked[k] else None,
            seeds=status[k]["ok"],
            metrics={name: means[name][k] for name in names},
            delta=deltas[k] if deltas[k].mean is not None else None,
            cost=Cost(*costs[k]),
            status=status[k],
            transductive=_if_any({name: adapted[name][k] for name in NAMES}),
            notes=notes[k],
            distilled=distilled[k],
            compressed=compressed[k],
        )
        for k, recipe in enumerate(recipes)
    ]
    table.sort(key=lambda one: (-_or(one.metrics[first].mean, -np.inf), one.recipe))
    return Leaderboard(
        protocol=protocol.name,
        version=protocol.version,
        hash=protocol.hash,
        description=protocol.description,
        metrics=protocol.scoring.metrics,
        machines=sorted({kind.machine for kind in told.kinds if kind.machine is not None}),
        rows=table,
        reference=reference,
        quoted=quoted(protocol),
        contrasts=[
            _contrast(
                one,
                other,
                ranking[row_of[one]] - ranking[row_of[other]],
                losses[row_of[other]] if losses is not None else None,
            )
            for one, other in getattr(protocol, "contrasts", ())
            if one in row_of and other in row_of
        ],
    )


def means_of(values: Floats) -> list[Mean]:
    """The mean over seeds of each row of [rows, seeds]."""
    return [
        Mean(
            rounded(mean),
            rounded(mean - half),
            rounded(mean + half),
        )
        for mean, half in zip(*map(np.ndarray.tolist, interval(values)), strict=True)
    ]


def _medians(values: Floats) -> list[list[float | None]]:
    """The median over seeds of [numbers, rows, seeds], as a list of numbers for each row."""
    ordered = np.sort(values, axis=2)  # NaN goes last
    n = (~np.isnan(values)).sum(axis=2)
    low = np.take_along_axis(ordered, np.maximum(n - 1, 0)[..., None] // 2, axis=2)
    high = np.take_along_axis(ordered, n[..., None] // 2 % values.shape[2], axis=2)
    middle = ((low + high) / 2)[..., 0]
    return [[rounded(number) for number in row] for row in middle.T.tolist()]


def rounded(number: float) -> float | None:
    return round(float(number), DIGITS) if math.isfinite(number) else None


def _or(number: float | None, other: float) -> float:
    return other if number is None else number


def _if_any(means: dict[str, Mean]) -> dict[str, Mean] | None:
    return means if any(mean.mean is not None for mean in means.values()) else None


def _typical(sets: Sequence[Distilled]) -> Distilled:
    """What the distilled sets of a recipe have in common, and medians of what they have not."""
    counted = ("images", "duplicates", "bytes")
    medians = {key: int(np.median([getattr(one, key) for one in sets])) for key in counted}
    seconds = float(np.median([one.evaluation_seconds for one in sets]))
    return structs.replace(sets[0], **medians, evaluation_seconds=round(seconds, DIGITS))


def _usual(networks: Sequence[Compressed]) -> Compressed:
    """What the compressed networks of a recipe have in common, and medians of what they have not.

    The metrics of their twins stand among those of the row.
    """
    told = {
        key: type(getattr(networks[0], key))(np.median([getattr(one, key) for one in networks]))
        for key in ("parameters", "macs", "latency", "agreement", "twin_seconds")
    }
    return structs.replace(networks[0], **told, twin={})


def _contrast(first: str, second: str, gaps: Floats, losses: Floats | None = None) -> Contrast:
    known = ~np.isnan(gaps)
    n = int(known.sum())
    error = rounded(float(np.nanstd(gaps, ddof=1)) / math.sqrt(n)) if n > 1 else None
    recovered = None
    if losses is not None and n:
        lost, half = interval(losses[known])
        if lost - half > 0:  # a share of what may be nothing says nothing
            recovered = rounded(gaps[known].mean() / lost)
    return Contrast(first, second, means_of(gaps[None])[0], error, recovered)


def _of_whole(
    told: Columns, numbers: Callable[[Record], list[float | None]]
) -> tuple[Floats, list[int]]:
    """Numbers [M, ...] of the M records that tell more than arrays hold, and where those stand."""
    every = [numbers(record) for record in told.whole.values()]
    width = len(every[0]) if every else len(NAMES)
    return np.array(every, dtype=np.float64).reshape(len(every), width), list(told.whole)


def _twin(record: Record, metric: str) -> float | None:
    return None if record.compressed is None else record.compressed.twin.get(metric)


def _relative(
    accuracy: Floats, recipes: list[str], seeds: NDArray[np.int64], balanced: Sequence[Record]
) -> Floats:
    """Relative accuracy [recipes, seeds]; NaN where a reference of that seed is not there."""
    reached = {(one.recipe, one.seed): one.metrics.get("accuracy") for one in balanced}
    own = np.full_like(accuracy, np.nan)
    vanilla = np.full(len(seeds), np.nan)
    if reached:
        own[:] = [[_number(reached.get((r, int(s)))) for s in seeds] for r in recipes]
        vanilla[:] = [_number(reached.get((REFERENCE, int(s)))) for s in seeds]
    return relative_accuracy(accuracy, vanilla, own)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


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
    notes: list[list[str]] = [[] for _ in range(recipes)]
    for n in np.union1d(first, np.flatnonzero(failed[told.kind])).tolist():
        kind = told.kinds[told.kind[n]]
        said = list(kind.notes)
        if kind.status != "ok":
            said.append(f"seed {told.seed[n]} {kind.status}: {kind.reason}")
        notes[row[n]] += [note for note in said if note not in notes[row[n]]]
    return notes


@dataclass(frozen=True)
class Read:
    """A leaderboard, and the files beside its records that do not count."""

    leaderboard: "Leaderboard | Comparison"
    rejected: list[Rejected]


def read(registry: Registry, protocol_name: str | Path, results: Path) -> Read:
    """The leaderboard of the records that stand under `results`.

    Raises:
        LTBenchError: there are none, or some were made under another version of the protocol.
    """
    protocol = registry.protocol(protocol_name)
    if isinstance(protocol, Tabular):
        from ltbench.comparisons import compare

        found, rejected = records_of(protocol, results)
        _refuse_none(protocol, results, len(found))
        return Read(compare(protocol, found), rejected)
    assert isinstance(protocol, Recognition)
    told, rejected = index.read(results, protocol.name)
    _refuse_none(protocol, results, len(told))
    _refuse_mixture(protocol, results, told)
    balanced: list[Record] = []
    if protocol.scoring.balanced is not None:
        balanced, more = records_of(registry.protocol(protocol.scoring.balanced), results)
        rejected += more
    return Read(build(protocol, told, balanced), rejected)


def records_of(protocol: Protocol, results: Path) -> tuple[list[Record], list[Rejected]]:
    """The records of a protocol that count, and the files beside them that do not.

    Raises:
        LTBenchError: some were made under another version, or from other data.
    """
    every = list(records.read_all(results, protocol.name))
    found = [record for record in every if isinstance(record, Record)]
    _refuse_mixture(protocol, results, columns(found))
    return found, [record for record in every if isinstance(record, Rejected)]


def _refuse_none(protocol: Protocol, results: Path, count: int) -> None:
    if not count:
        where = results / protocol.name
        raise LTBenchError(f"{where} holds no records; ltbench run {protocol.name} makes them")


def _refuse_mixture(protocol: Protocol, results: Path, told: Columns) -> None:
    """Refuses records that must not be put together."""
    where = results / protocol.name
    others: Counter[tuple[int, str]] = Counter()
    data: dict[str, set[str]] = {}
    counts = np.bincount(told.kind, minlength=len(told.kinds)).tolist()
    for kind, count in zip(told.kinds, counts, strict=True):
        if kind.hash != protocol.hash and count:
            others[kind.version, kind.hash] += count
        if kind.fingerprint and count:  # there is none where the data could not be had
            data.setdefault(kind.table, set()).add(kind.fingerprint)
    for (version, other), count in others.items():
        raise LTBenchError(
            f"{where} holds {count} records of {protocol.name} version {version} "
            f"({other}); it is now version {protocol.version} ({protocol.hash}), and numbers of "
            "two protocols are never put together: move the old records away"
        )
    for table, known in data.items():
        if len(known) > 1:
            what = " ".join(filter(None, ("different data", table)))
            raise LTBenchError(
                f"{where} holds records of {what} "
                f"({' and '.join(sorted(known))}), whose numbers are never put together: "
                "move those of one away"
            )


def leaderboard(
    protocol: str | Path, results: str | Path = "leaderboards", plugins: Iterable[str | Path] = ()
) -> "pandas.DataFrame":
    """The leaderboard of a protocol as a frame, a row for each recipe, best first.

    Raises:
        LTBenchError: there are no records, or they cannot be put together.
    """
    from ltbench.render import frame

    return frame(read(registry_of(plugins), protocol, Path(results)).leaderboard)
