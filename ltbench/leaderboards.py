"""Records become a leaderboard: means over seeds, intervals, shared ranks and costs."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from ltbench import records
from ltbench.errors import LTBenchError
from ltbench.metrics import NAMES, relative_accuracy
from ltbench.protocols import Distillation, Protocol, Recognition, Tabular
from ltbench.records import Distilled, Record, Rejected, Status
from ltbench.registry import Registry, registry_of
from ltbench.statistics import interval, rank_ranges

if TYPE_CHECKING:
    import pandas

    from ltbench.comparisons import Comparison

Floats = NDArray[np.float64]
REFERENCE = "erm"
OF_DISTILLED = "random"  # what a distilled set must beat
WHOLE = "full"  # what it is a fraction of
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
    """The paired difference of two recipes, first minus second, and its standard error."""

    first: str
    second: str
    difference: Mean
    error: float | None


class Row(Struct, frozen=True):
    """What a recipe is worth; `delta` is the paired difference to the reference.

    `distilled` is of distillation alone; its numbers are medians over seeds.
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


class Leaderboard(Struct, frozen=True):
    """The rows of one protocol, best first; those without a finished cell come last.

    `reference` is the recipe that the others are set against.
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


def build(
    protocol: Recognition, found: Sequence[Record], balanced: Sequence[Record] = ()
) -> Leaderboard:
    """The leaderboard of a protocol's records, of which there is at least one.

    `balanced` are records of the protocol's balanced twin, which relative accuracy needs.
    """
    recipes = sorted({record.recipe for record in found})
    seeds = sorted({record.seed for record in found})
    row_of = {recipe: row for row, recipe in enumerate(recipes)}
    column_of = {seed: column for column, seed in enumerate(seeds)}
    rows = [row_of[record.recipe] for record in found]
    columns = [column_of[record.seed] for record in found]

    def grid(numbers: list[list[float | None]]) -> Floats:
        """Numbers of each record as [numbers, recipes, seeds]; NaN where there is none."""
        filled = np.full((len(numbers[0]), len(recipes), len(seeds)), np.nan)
        filled[:, rows, columns] = np.array(numbers, dtype=np.float64).T
        return filled

    references = _balanced_accuracies(balanced)
    values = grid([[*map(r.metrics.get, NAMES), _relative(r, references)] for r in found])
    names = [*NAMES, "relative_accuracy"]
    reference = REFERENCE
    if isinstance(protocol, Distillation):
        reference, names = OF_DISTILLED, [*names, "retention"]
        accuracy = values[NAMES.index("accuracy")]
        full = accuracy[row_of[WHOLE]] if WHOLE in row_of else np.full(len(seeds), np.nan)
        values = np.concatenate([values, (accuracy / full)[None]])
    means = dict(zip(names, map(means_of, values), strict=True))
    transductive = grid([[*map((r.transductive or {}).get, NAMES)] for r in found])
    adapted = dict(zip(NAMES, map(means_of, transductive), strict=True))
    costs = _medians(grid([_costs(record) for record in found]))
    ranking = values[names.index(protocol.scoring.metrics[0])]
    sets: list[list[Distilled]] = [[] for _ in recipes]
    for record, row in zip(found, rows, strict=True):
        if record.distilled is not None:
            sets[row].append(record.distilled)
    distilled = [_typical(told) if told else None for told in sets]
    ranked = np.array([told is None or not told.control for told in distilled])
    best, worst = rank_ranges(np.where(ranked[:, None], ranking, np.nan))
    plain = ranking[row_of[reference]] if reference in row_of else np.full(len(seeds), np.nan)
    deltas = means_of(ranking - plain)
    status = [dict.fromkeys(get_args(Status), 0) for _ in recipes]
    notes: list[list[str]] = [[] for _ in recipes]
    for record, row in zip(found, rows, strict=True):
        status[row][record.status] += 1
        notes[row] += [note for note in notes_of(record) if note not in notes[row]]
    table = [
        Row(
            recipe=recipe,
            rank=(int(best[row]), int(worst[row])) if status[row]["ok"] and ranked[row] else None,
            seeds=status[row]["ok"],
            metrics={name: means[name][row] for name in names},
            delta=deltas[row] if deltas[row].mean is not None else None,
            cost=Cost(*costs[row]),
            status=status[row],
            transductive=_if_any({name: adapted[name][row] for name in NAMES}),
            notes=notes[row],
            distilled=distilled[row],
        )
        for row, recipe in enumerate(recipes)
    ]
    first = protocol.scoring.metrics[0]
    table.sort(key=lambda row: (-_or(row.metrics[first].mean, -np.inf), row.recipe))
    return Leaderboard(
        protocol=protocol.name,
        version=protocol.version,
        hash=protocol.hash,
        description=protocol.description,
        metrics=protocol.scoring.metrics,
        machines=sorted({machine_of(record) for record in found if record.timing is not None}),
        rows=table,
        reference=reference,
        contrasts=[
            _contrast(one, other, ranking[row_of[one]] - ranking[row_of[other]])
            for one, other in (protocol.contrasts if isinstance(protocol, Distillation) else ())
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


def _costs(record: Record) -> list[float | None]:
    timing = record.timing
    if timing is None:
        return [None] * 4
    return [timing.relative, timing.passes, timing.seconds, timing.peak_memory_mb]


def _typical(sets: Sequence[Distilled]) -> Distilled:
    """What the distilled sets of a recipe have in common, and medians of what they have not."""
    counted = ("images", "duplicates", "bytes")
    medians = {key: int(np.median([getattr(one, key) for one in sets])) for key in counted}
    seconds = float(np.median([one.evaluation_seconds for one in sets]))
    return structs.replace(sets[0], **medians, evaluation_seconds=round(seconds, DIGITS))


def _contrast(first: str, second: str, gaps: Floats) -> Contrast:
    n = int((~np.isnan(gaps)).sum())
    error = rounded(float(np.nanstd(gaps, ddof=1)) / math.sqrt(n)) if n > 1 else None
    return Contrast(first, second, means_of(gaps[None])[0], error)


def _balanced_accuracies(balanced: Iterable[Record]) -> dict[tuple[str, int], float]:
    return {
        (record.recipe, record.seed): accuracy
        for record in balanced
        if (accuracy := record.metrics.get("accuracy")) is not None
    }


def _relative(record: Record, references: dict[tuple[str, int], float]) -> float | None:
    """Relative accuracy, where both references of that seed are there."""
    accuracy = record.metrics.get("accuracy")
    vanilla = references.get((REFERENCE, record.seed))
    balanced = references.get((record.recipe, record.seed))
    if accuracy is None or vanilla is None or balanced is None:
        return None
    return relative_accuracy(accuracy, vanilla, balanced)


def notes_of(record: Record) -> list[str]:
    if record.status == "ok":
        return record.notes
    return [*record.notes, f"seed {record.seed} {record.status}: {record.reason}"]


def machine_of(record: Record) -> str:
    environment = record.environment
    processor = environment.get("gpu") or environment.get("cpu")
    threads = environment.get("threads")
    return f"{processor}, threads a cell: {threads}, torch {environment.get('torch')}"


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
    found, rejected = records_of(protocol, results)
    if not found:
        where = results / protocol.name
        raise LTBenchError(f"{where} holds no records; ltbench run {protocol.name} makes them")
    if isinstance(protocol, Tabular):
        from ltbench.comparisons import compare

        return Read(compare(protocol, found), rejected)
    assert isinstance(protocol, Recognition)
    balanced: list[Record] = []
    if protocol.scoring.balanced is not None:
        balanced, more = records_of(registry.protocol(protocol.scoring.balanced), results)
        rejected += more
    return Read(build(protocol, found, balanced), rejected)


def records_of(protocol: Protocol, results: Path) -> tuple[list[Record], list[Rejected]]:
    """The records of a protocol that count, and the files beside them that do not.

    Raises:
        LTBenchError: some were made under another version, or from other data.
    """
    every = list(records.read_all(results, protocol.name))
    found = [record for record in every if isinstance(record, Record)]
    rejected = [record for record in every if isinstance(record, Rejected)]
    others = Counter((r.version, r.hash) for r in found if r.hash != protocol.hash)
    for (version, other), count in others.items():
        raise LTBenchError(
            f"{results / protocol.name} holds {count} records of {protocol.name} version {version} "
            f"({other}); it is now version {protocol.version} ({protocol.hash}), and numbers of "
            "two protocols are never put together: move the old records away"
        )
    data: dict[str, set[str]] = {}
    for record in found:
        if record.fingerprint:  # there is none where the data could not be had
            data.setdefault(record.table, set()).add(record.fingerprint)
    for table, known in data.items():
        if len(known) > 1:
            what = " ".join(filter(None, ("different data", table)))
            raise LTBenchError(
                f"{results / protocol.name} holds records of {what} "
                f"({' and '.join(sorted(known))}), whose numbers are never put together: "
                "move those of one away"
            )
    return found, rejected


def leaderboard(
    protocol: str | Path, results: str | Path = "leaderboards", plugins: Iterable[str | Path] = ()
) -> "pandas.DataFrame":
    """The leaderboard of a protocol as a frame, a row for each recipe, best first.

    Raises:
        LTBenchError: there are no records, or they cannot be put together.
    """
    from ltbench.render import frame

    return frame(read(registry_of(plugins), protocol, Path(results)).leaderboard)
