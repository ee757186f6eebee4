"""Running recorded cells again, to see whether the same comes out."""

import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ltbench.contract.track import Arrays, Track
from ltbench.errors import LTBenchError
from ltbench.registry.registry import Registry
from ltbench.results import records, verifications
from ltbench.results.provenance import SAID, made
from ltbench.results.reading import refuse_none
from ltbench.results.records import Record, same_code
from ltbench.results.verifications import Verification
from ltbench.running.execute import execute
from ltbench.running.plan import RESULTS, plan
from ltbench.running.processes import apart

TOLERANCE = 0.01  # of the predictions may differ on another machine
SPREAD = 1.0  # standard deviations over seeds by which a measure may


def verify(
    registry: Registry,
    name: str | Path,
    recipes: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    sample: int | None = None,
    by: str = "another",
    results: Path = RESULTS,
    jobs: int = 1,
) -> Iterator[Verification | str]:
    """Runs recorded cells again, `sample` of them or all, and tells of each what came of it.

    A sample is drawn by chance, those first that this hand has not run again as they stand.

    No record is changed; each verification is written beside its record. A line tells of a cell
    that cannot be run here.

    Raises:
        LTBenchError: there is nothing to verify, or the protocol's data cannot be had.
    """
    protocol = registry.protocol(name)
    track = registry.track(protocol.track)
    every = [r for r in records.read_all(results, protocol.name, track.name)]
    found = [r for r in every if isinstance(r, Record)]
    refuse_none(protocol, results, len(found), [r for r in every if not isinstance(r, Record)])
    wanted = {registry.recipe(text).text for text in recipes}
    chosen = [
        record
        for record in found
        if record.status == "ok"
        and protocol.counts(record.hash)
        and (not wanted or record.recipe in wanted)
        and (seeds is None or record.seed in seeds)
    ]
    if not chosen:
        raise LTBenchError(f"{results / protocol.name} holds no finished records of these")
    if sample is not None and sample < len(chosen):
        every_told = (told for _, told in verifications.read_all(results, protocol.name))
        known = {t.record for t in every_told if isinstance(t, Verification) and t.by == by}
        random.shuffle(chosen)
        chosen = sorted(chosen, key=lambda record: record.digest in known)[:sample]
    here = []
    for text in sorted({record.recipe for record in chosen}):
        try:
            here.append(registry.recipe(text).text)
        except LTBenchError as error:
            yield f"{text} cannot be run here: {error}"
    places = {(r.recipe, r.seed, r.table): r for r in chosen if r.recipe in here}
    if not places:
        return
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder)
        seeds = sorted({seed for _, seed, _ in places})
        planned = plan(registry, name, here, seeds, again, mixed=True, sealed=True)
        cells = [c for c in planned.cells if (c.recipe.text, c.seed, c.table) in places]
        closed = (*planned.closed, results.absolute())
        for event in execute(replace(planned, cells=cells, closed=closed, shares=False), jobs):
            if event.ended is None:
                continue
            record = places[event.ended.recipe, event.ended.seed, event.ended.table]
            same_row = [r for r in found if (r.recipe, r.table) == (record.recipe, record.table)]
            held = partial(_held_against, track, record, event.ended, same_row, results, again)
            one = apart(held)  # as workers are forked from here, which must not hold labels
            stamp = datetime.now(UTC).isoformat(timespec="seconds")
            yield verifications.write(results, Verification(by=by, when=stamp, **one))


def _held_against(
    track: Track[Any],
    record: Record,
    again: Record,
    same_row: Sequence[Record],
    results: Path,
    place: Path,
) -> dict[str, Any]:
    """What is to be said of a record and of what came out of running its cell again."""
    told: dict[str, Any] = {
        "protocol": record.protocol,
        "recipe": record.recipe,
        "seed": record.seed,
        "table": record.table,
        "record": record.digest,
        "again": again.digest,
        "environment": again.environment,
        "unlike": _unlike(record, again),
    }
    if again.status != "ok":
        reason = f": {again.reason}" if again.reason else ""
        return {**told, "outcome": "different", "what": f"it ended as {again.status}{reason}"}
    timed = {measure.name for measure in track.measures if measure.timed}
    moved = {
        name: (record.measures.get(name), again.measures.get(name))
        for name in (record.measures | again.measures).keys() - timed
        if record.measures.get(name) != again.measures.get(name)
    }
    arrays = _arrays(record, results), _arrays(again, place)
    other, rows = _predictions(track, record, *arrays)
    differing = sorted(
        name
        for name in arrays[0].keys() & arrays[1].keys()
        if arrays[0][name].dtype == arrays[1][name].dtype  # else they are kept in another form
        and not np.array_equal(arrays[0][name], arrays[1][name])
    )
    told |= {"rows": rows, "other": other}
    if not (moved or differing or record.recall != again.recall):
        return {**told, "outcome": "same"}
    beyond = _beyond(track, moved, same_row)
    what = beyond or (_said(min(moved), *moved[min(moved)]) if moved else ", ".join(differing))
    far = beyond or other > TOLERANCE * rows
    return {**told, "outcome": "different" if far else "close", "what": what}


def _unlike(record: Record, again: Record) -> list[str]:
    """What decides bits and differs, as far as both records tell."""
    one, other = made(record), made(again)
    unlike = [
        said
        for name, said in SAID.items()
        if None not in (getattr(one, name), getattr(other, name))
        and getattr(one, name) != getattr(other, name)
    ]
    if record.environment.get("cpu") != again.environment.get("cpu"):
        unlike.append("processor's name")
    if not (same_code(record.plugins, again.plugins) or same_code(again.plugins, record.plugins)):
        unlike.append("the methods' code")
    return unlike


def _arrays(record: Record, results: Path) -> Arrays:
    try:
        return records.arrays_of(results, record) if record.arrays else {}
    except LTBenchError:
        return {}


def _predictions(track: Track[Any], record: Record, one: Arrays, other: Arrays) -> tuple[int, int]:
    """How many predictions differ, of how many; nothing where either keeps none."""
    found = [track.decided(record, arrays) for arrays in (one, other) if arrays]
    if len(found) < 2 or found[0] is None or found[1] is None:
        return 0, 0
    first, second = found[0][1], found[1][1]
    if first.shape != second.shape:
        return first.size, first.size
    return int((first != second).sum()), first.size


def _beyond(
    track: Track[Any],
    moved: dict[str, tuple[float | None, float | None]],
    same_row: Sequence[Record],
) -> str:
    """The first measure that differs by more than it spreads over the seeds of its row, if any."""
    for name in (one.name for one in track.measures if one.name in moved):
        before, after = moved[name]
        if before is None or after is None:
            return _said(name, before, after)
        values = [v for r in same_row if (v := r.measures.get(name)) is not None]
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        if abs(after - before) > SPREAD * spread:
            return _said(name, before, after)
    return ""


def _said(name: str, before: float | None, after: float | None) -> str:
    told = ("none" if value is None else f"{value:.6g}" for value in (before, after))
    return f"{name} {next(told)}, again {next(told)}"
