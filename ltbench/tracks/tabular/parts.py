"""What each learner yielded in a cell, which a record keeps as the track's details."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct, structs

from ltbench.results.records import Record, Scores, Status, Timing
from ltbench.tracks.tabular.measures import NAMES


class Part(Struct, frozen=True, forbid_unknown_fields=True):
    """What one learner yielded in a cell; costs and rows are those of all its folds.

    `metrics` are means over `folds`, which records from before these lack.
    """

    status: Status
    reason: str = ""
    notes: list[str] = []
    metrics: Scores = {}
    timing: Timing | None = None
    folds: list[Scores] = []


class Parts(Struct, frozen=True):
    """The part of each learner."""

    parts: dict[str, Part] = {}


def parts_of(record: Record) -> dict[str, Part]:
    """The part of each learner in a record; none where the cell itself failed."""
    return msgspec.convert(record.details, Parts).parts


def of_folds(records: Sequence[Record]) -> dict[str, Part]:
    """The part of each learner in cells of which each counts in one fold, the first in the first.

    What each cost is the mean of what they cost.
    """
    return {name: _joined(every) for name, every in _together(list(map(parts_of, records)))}


def _together(cells: Sequence[Mapping[str, Part]]) -> Iterator[tuple[str, list[Part]]]:
    for name in cells[0]:
        if all(name in parts for parts in cells):
            yield name, [parts[name] for parts in cells]


def _joined(every: Sequence[Part]) -> Part:
    bad = next((part for part in every if part.status != "ok"), None)
    if bad is not None:
        return bad
    folds = [part.folds[k] for k, part in enumerate(every)]
    return Part(
        status="ok",
        notes=[*dict.fromkeys(note for part in every for note in part.notes)],
        metrics={name: mean([fold.get(name) for fold in folds]) for name in NAMES},
        timing=_mean([part.timing for part in every if part.timing is not None]),
        folds=folds,
    )


def _mean(timings: Sequence[Timing]) -> Timing | None:
    whole, n = summed(timings), len(timings)
    if whole is None:
        return None
    seconds, work, reference = whole.seconds / n, whole.work / n, whole.reference_work / n
    return structs.replace(whole, seconds=seconds, work=work, reference_work=reference)


def over_folds(folds: Sequence[Part]) -> Part:
    """The part of a learner, of what it yielded in each fold; where it failed in one, that."""
    bad = next((part for part in folds if part.status != "ok"), None)
    if bad is not None:
        return bad
    values = [scores for part in folds for scores in part.folds]
    return Part(
        status="ok",
        notes=[*dict.fromkeys(note for part in folds for note in part.notes)],
        metrics={name: mean([one[name] for one in values]) for name in NAMES},
        timing=summed([part.timing for part in folds if part.timing is not None]),
        folds=values,
    )


def ended(parts: Mapping[str, Part]) -> tuple[Status, str]:
    """How a cell ended, and why: it is done where no part of it failed."""
    bad = {name: part for name, part in parts.items() if part.status != "ok"}
    if bad and len(bad) == len(parts) or any(p.status != "skipped" for p in bad.values()):
        first = min(bad.values(), key=lambda part: part.status == "skipped")
        return first.status, first.reason
    return "ok", ""


def means(parts: Iterable[Part]) -> Scores:
    """The mean of each measure over the learners that have it."""
    scores = [part.metrics for part in parts if part.metrics]
    if not scores:
        return {}
    return {name: mean([one.get(name) for one in scores]) for name in NAMES}


def mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None


def summed(timings: Sequence[Timing]) -> Timing | None:
    """The cost of several fits together."""
    if not timings:
        return None
    work, reference = (sum(getattr(t, key) for t in timings) for key in ("work", "reference_work"))
    return Timing(
        seconds=round(sum(t.seconds for t in timings), 6),
        work=round(work, 6),
        reference_work=round(reference, 6),
        relative=round(work / reference, 4),
        passes=round(sum(t.passes for t in timings) / len(timings), 4),
        peak_memory_mb=round(max(t.peak_memory_mb for t in timings), 3),
    )


def told(parts: Mapping[str, Part]) -> dict[str, Any]:
    """The fields of a record that follow from its parts."""
    timings = [part.timing for part in parts.values() if part.timing is not None]
    return {"measures": means(parts.values()), "timing": summed(timings)}
