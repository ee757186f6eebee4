"""What a change moved: the records of two folders, cell by cell."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from ltbench.contract.track import Track
from ltbench.errors import LTBenchError, UnknownName
from ltbench.protocols.schema import Protocol
from ltbench.registry.registry import Registry
from ltbench.rendering.cells import code, legend, plain, table_of
from ltbench.results import records
from ltbench.results.records import Record, Rejected
from ltbench.scoring.measures import Measure
from ltbench.scoring.statistics import NOTHING, Floats, Mean, means_of

Cells = Mapping[tuple[str, int, str], Record]  # by recipe, seed and table

COST = "cost"


class Bound(Struct, frozen=True):
    """How far a measure, or the cost, may move: by an amount in its unit, or by a share of what it
    was. A bound below nothing limits a fall, one above a rise."""

    measure: str
    most: float
    relative: bool

    def __str__(self) -> str:
        return f"{self.measure}:{self.most:+g}{'%' * self.relative}"


class Changed(Struct, frozen=True, kw_only=True):
    """A row that both folders have, over the `seeds` that both finished.

    `difference` is paired, new less old, of the measure that ranks; `cost` the mean ratio of new to
    old units of plain training. Of `rows` predictions, over all seeds and networks, `other` differ;
    None where one side keeps none. `failed` are the bounds that it broke, `status` the cells that
    ended otherwise than before.
    """

    recipe: str
    seeds: int
    old: float | None
    new: float | None
    difference: Mean
    cost: Mean
    other: int | None
    rows: int
    status: list[str] = []
    failed: list[str] = []


class Compared(Struct, frozen=True, kw_only=True):
    """What moved on the board of one protocol; `refused` says why nothing is set side by side."""

    protocol: str
    measure: Measure | None = None
    refused: str = ""
    new: list[str] = []
    gone: list[str] = []
    changed: list[Changed] = []
    same: int = 0

    @property
    def failed(self) -> bool:
        return any(row.failed for row in self.changed)


def bound(text: str) -> Bound:
    """The bound that a text such as "accuracy:-0.5" or "cost:+25%" states.

    Raises:
        LTBenchError: it states none.
    """
    measure, _, amount = text.partition(":")
    number = amount.removesuffix("%").strip()
    try:
        most = float(number)
    except ValueError:
        most = math.nan
    if not measure or number[:1] not in ("+", "-") or not math.isfinite(most):
        raise LTBenchError(f"--fail {text!r}: expected MEASURE:-0.5, MEASURE:+2 or cost:+25%")
    return Bound(measure.strip(), most, amount.strip().endswith("%"))


def compare(
    registry: Registry,
    old: Path,
    new: Path,
    protocols: Sequence[str] = (),
    bounds: Sequence[Bound] = (),
) -> tuple[list[Compared], list[Rejected]]:
    """What moved from one folder of results to another, of some protocols or of all that are there.

    Raises:
        LTBenchError: a folder holds no records, or no protocol has the measure of a bound.
    """
    there = {side: _names(side) for side in (old, new)}
    for side, names in there.items():
        if not names:
            raise LTBenchError(f"{side} holds no records")
    every = sorted(set().union(*there.values()))
    for name in protocols:
        if name not in every:
            raise UnknownName("protocol", name, every, where="with records in either folder")
    chosen = list(protocols) or every
    _refuse_bounds(registry, chosen, bounds)
    rejected: list[Rejected] = []
    found = [_compared(registry, name, old, new, bounds, rejected) for name in chosen]
    return found, rejected


def _names(results: Path) -> list[str]:
    return [folder.parent.name for folder in results.glob("*/records") if any(folder.glob("*/*"))]


def _refuse_bounds(registry: Registry, names: Iterable[str], bounds: Iterable[Bound]) -> None:
    tracks = {registry.protocol(n).track for n in names if n in registry.protocols()}
    known = {one.name for track in tracks for one in registry.track(track).measures}
    for one in bounds:
        if one.measure not in known | {COST}:
            raise UnknownName("measure", one.measure, sorted(known | {COST}), where="in --fail")


def _compared(
    registry: Registry,
    name: str,
    old: Path,
    new: Path,
    bounds: Sequence[Bound],
    rejected: list[Rejected],
) -> Compared:
    before, after = (_cells(side, name, rejected) for side in (old, new))
    if name not in registry.protocols():
        return Compared(protocol=name, refused="there is no such protocol here")
    protocol = registry.protocol(name)
    reason = _unlike(protocol, before, after)
    if reason:
        return Compared(protocol=name, refused=reason)
    track = registry.track(protocol.track)
    measure = track.measure(track.shown(protocol)[0])
    rows = [{recipe for recipe, _, _ in side} for side in (before, after)]
    both = sorted(rows[0] & rows[1])
    pairs = {recipe: _pairs(recipe, before, after) for recipe in both}
    moved = [recipe for recipe in both if any(map(_moved, *zip(*pairs[recipe], strict=True)))]
    return Compared(
        protocol=name,
        measure=measure,
        new=sorted(rows[1] - rows[0]),
        gone=sorted(rows[0] - rows[1]),
        changed=[
            _changed(track, protocol, measure, recipe, pairs[recipe], (old, new), bounds)
            for recipe in moved
        ],
        same=len(both) - len(moved),
    )


def _cells(results: Path, protocol: str, rejected: list[Rejected]) -> Cells:
    found: dict[tuple[str, int, str], Record] = {}
    for one in records.read_all(results, protocol):
        if isinstance(one, Record):
            found[one.recipe, one.seed, one.table] = one
        else:
            rejected.append(one)
    return found


def _unlike(protocol: Protocol, before: Cells, after: Cells) -> str:
    """Why the records of both sides are not of one problem; empty if they are."""
    for said, side in (("old", before), ("new", after)):
        other = next((one for one in side.values() if not protocol.counts(one.hash)), None)
        if other is not None:
            return (
                f"{said} records are of version {other.version} ({other.hash}), and "
                f"{protocol.name} is at version {protocol.version} ({protocol.hash}) here"
            )
    data = [{(one.table, one.fingerprint) for one in side.values()} for side in (before, after)]
    for table, fingerprint in sorted(data[0] ^ data[1]):
        others = [found for known in data for of, found in known if of == table]
        if fingerprint and len(set(filter(None, others))) > 1:
            return f"old and new records are of different data{' ' * bool(table)}{table}"
    return ""


def _pairs(recipe: str, before: Cells, after: Cells) -> list[tuple[Record | None, Record | None]]:
    places = sorted({place for place in (*before, *after) if place[0] == recipe})
    return [(before.get(place), after.get(place)) for place in places]


def _moved(one: Record | None, other: Record | None) -> bool:
    """Whether anything but time and place differs in two outcomes of a cell."""
    if one is None or other is None:
        return True
    told = [(r.status, r.measures, r.transductive, r.recall, r.plugins) for r in (one, other)]
    return told[0] != told[1]


def _changed(
    track: Track[Any],
    protocol: Protocol,
    measure: Measure,
    recipe: str,
    pairs: Sequence[tuple[Record | None, Record | None]],
    places: tuple[Path, Path],
    bounds: Sequence[Bound],
) -> Changed:
    done = [
        (one, other)
        for one, other in pairs
        if one is not None and other is not None and one.status == other.status == "ok"
    ]
    seeds = sorted({one.seed for one, _ in done})

    def over_seeds(value: Any) -> tuple[Floats, Floats]:
        """A number of each side [seeds], the mean over the tables of each seed."""
        sides = []
        for side in (0, 1):
            told = [[value(p[side]) for p in done if p[side].seed == seed] for seed in seeds]
            numbers = [[math.nan if v is None else v for v in one] for one in told]
            sides.append(np.array([np.mean(one) for one in numbers], dtype=np.float64))
        return sides[0], sides[1]

    classes = max((len(one.class_counts) for one, _ in done), default=0)

    def gap(name: str) -> tuple[Floats, Mean]:
        one = track.measure(name)
        before, after = over_seeds(lambda record: record.measures.get(name))
        step = track.step(protocol, name, classes) or 0.0
        return before, means_of((after - before)[None], one.gaps, step)[0] if seeds else NOTHING

    before, difference = gap(measure.name)
    units = over_seeds(track.units)
    ratio = means_of((units[1] / units[0])[None])[0] if seeds else NOTHING
    failed = []
    for one in bounds:
        if one.measure == COST:
            moved, base, unit = _less(ratio, 1.0), 1.0, 1.0
        elif any(known.name == one.measure for known in track.measures):
            was, moved = gap(one.measure)
            base, unit = (
                float(np.nanmean(was)) if seeds else 0.0,
                track.measure(one.measure).scaled(1),
            )
        else:
            continue
        if _beyond(moved, one.most / 100 * abs(base) if one.relative else one.most / unit):
            failed.append(str(one))
    other, rows = _predictions(track, done, places)
    mean = float(np.nanmean(before)) if seeds and not np.isnan(before).all() else None
    return Changed(
        recipe=recipe,
        seeds=len(seeds),
        old=mean,
        new=None if mean is None or difference.mean is None else mean + difference.mean,
        difference=difference,
        cost=ratio,
        other=other,
        rows=rows,
        status=_status(pairs),
        failed=failed,
    )


def _less(mean: Mean, by: float) -> Mean:
    return Mean(*(None if one is None else one - by for one in (mean.mean, mean.low, mean.high)))


def _beyond(moved: Mean, most: float) -> bool:
    """Whether a mean lies beyond a bound, and not by chance: its interval does not hold nothing."""
    if moved.mean is None or moved.low is None or moved.high is None:
        return False
    if moved.low <= 0 <= moved.high:
        return False
    return moved.mean < most if most < 0 else moved.mean > most


def _predictions(
    track: Track[Any], done: Sequence[tuple[Record, Record]], places: tuple[Path, Path]
) -> tuple[int | None, int]:
    """How many predictions differ, of how many; None where they cannot be set side by side."""
    other, rows = 0, 0
    for pair in done:
        told: list[NDArray[Any]] = []
        for record, results in zip(pair, places, strict=True):
            try:
                arrays = records.arrays_of(results, record) if record.arrays else {}
            except LTBenchError:
                return None, 0
            found = track.decided(record, arrays)
            if found is None:
                return None, 0
            told.append(found[1])
        if told[0].shape != told[1].shape:
            return None, 0
        other += int((told[0] != told[1]).sum())
        rows += told[0].size
    return (other, rows) if rows else (None, 0)


def _status(pairs: Sequence[tuple[Record | None, Record | None]]) -> list[str]:
    """What became of cells that ended otherwise, or are on one side alone."""
    told = []
    for one, other in pairs:
        record = other or one
        ends = ["missing" if r is None else r.status for r in (one, other)]
        if record is not None and ends[0] != ends[1]:
            where = f"{record.table} seed {record.seed}".strip()
            told.append(f"{where}: {ends[0]}, now {ends[1]}")
    return told


def markdown(found: Sequence[Compared]) -> str:
    """What moved, as a table for each protocol; those on which nothing did are one line."""
    blocks = []
    for one in found:
        blocks.append(f"## {plain(one.protocol)}")
        if one.refused:
            blocks.append(f"Not set side by side: {plain(one.refused)}.")
            continue
        for said, recipes in (("New", one.new), ("Gone", one.gone)):
            if recipes:
                blocks.append(f"{said}: {', '.join(map(code, recipes))}.")
        if one.changed and one.measure is not None:
            blocks.append(_table(one.measure, one.changed))
        ended = [f"- {code(row.recipe)}, {plain(s)}" for row in one.changed for s in row.status]
        blocks.append("\n".join(ended))
        told = "row is" if one.same == 1 else "rows are"
        blocks.append(f"{one.same} {told} as before, to the bit.")
    if any(one.changed for one in found):
        blocks.append(
            legend(
                "differences are new less old with the same seeds, ± half the 95 % interval",
                "*cost*: new over old, in units of plain training",
                "*predictions*: how many differ, over all seeds",
            )
        )
    return "\n\n".join(block for block in blocks if block) + "\n"


def _table(measure: Measure, rows: Sequence[Changed]) -> str:
    return table_of(
        [
            "recipe",
            f"old {measure.called}",
            "new",
            "difference",
            "cost",
            "predictions",
            "seeds",
            "",
        ],
        [
            [
                code(row.recipe),
                "-" if row.old is None else measure.written(row.old),
                "-" if row.new is None else measure.written(row.new),
                _signed(measure, row.difference),
                "-" if row.cost.mean is None else f"{row.cost.mean:.2f}x",
                "-" if row.other is None else f"{row.other:,} of {row.rows:,}",
                str(row.seeds),
                f"**beyond {', '.join(row.failed)}**" if row.failed else "",
            ]
            for row in rows
        ],
    )


def _signed(measure: Measure, difference: Mean) -> str:
    if difference.mean is None:
        return "-"
    told = measure.written(difference.mean, "+")
    if difference.low is None or difference.high is None:
        return told
    half = max(difference.high - difference.mean, difference.mean - difference.low)
    return f"{told} ± {measure.written(half)}"
