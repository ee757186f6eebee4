"""The board of a protocol, from the records that stand in a folder."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from ltbench.boards import tuned
from ltbench.boards.leaderboard import Elsewhere, Leaderboard, Verified, build
from ltbench.boards.markdown import frame, markdown, said_of
from ltbench.boards.order import Order, order_of
from ltbench.boards.overview import overview
from ltbench.boards.published import ordered, quoted
from ltbench.boards.verifying import sampled
from ltbench.contract.track import Board, Track
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.registry.registry import Registry
from ltbench.rendering.cells import plain
from ltbench.rendering.overview import Overview
from ltbench.results import index, records, submissions, verifications
from ltbench.results.reading import counted, records_of, refuse_mixture, refuse_none, told_of
from ltbench.results.record_arrays import Columns, columns, taken
from ltbench.results.records import Record, Rejected, place_of
from ltbench.results.submissions import Kept, Submission
from ltbench.results.verifications import Verification
from ltbench.scoring.measures import stored


@dataclass(frozen=True)
class Read:
    """A board, and the files beside its records that do not count."""

    board: Board
    rejected: list[Rejected]


def read(
    registry: Registry, protocol_name: str | Path | Protocol, results: Path, mixed: bool = False
) -> Read:
    """The board of the records that stand under `results`.

    With `mixed`, records of several codes or devices stand together, which the board tells. A few
    records are held against their arrays; one that does not follow from them does not count.

    Raises:
        LTBenchError: there are none, or some must not be put together.
    """
    protocol = _protocol(registry, protocol_name, results)
    track = registry.track(protocol.track)
    if type(track).compare is not Track.compare:
        found, rejected, remarks = told_of(protocol, results, registry.origin, mixed)
        found = _sound(track, found, results, rejected)
        bad = sampled(track, protocol, results, columns(found))
        rejected += bad.values()
        found = [record for row, record in enumerate(found) if row not in bad]
        found = _without_beyond(results, protocol, found, remarks)
        refuse_none(protocol, results, len(found), rejected)
        board = track.compare(protocol, found)
        if board is not None:
            count = Counter(record.recipe for record in found if record.status == "ok")
            verified = _verified(results, protocol, count, remarks)
            board = _remarked(board, [*map(said_of, verified), *remarks])
            return Read(_beside_tuned(registry, protocol, results, mixed, board), rejected)
    told, rejected = index.read(results, protocol.name, stored(track.measures), track.name)
    refuse_mixture(protocol, results, told)
    bad = sampled(track, protocol, results, told)
    rejected += bad.values()
    told = _without(told, [*bad])
    refuse_none(protocol, results, len(told), rejected)
    provenance = counted(results / protocol.name, told, registry.origin, mixed)
    told = _without(told, np.flatnonzero(~provenance.kept))
    remarks = [*provenance.notes]
    elsewhere = _elsewhere(registry, track, protocol, results, rejected, remarks, mixed)
    submitted = _submitted(results, protocol, remarks)
    content = build(
        track, protocol, told, elsewhere, quoted(registry, protocol), remarks, submitted
    )
    finished = dict(zip(told.recipes, _finished(told), strict=True))
    verified = _verified(results, protocol, finished, remarks)
    order = _order(registry, protocol, content)
    content = structs.replace(content, verified=verified, remarks=remarks, order=order)
    written = partial(markdown, content), partial(frame, content)
    board = Board(content, *written, partial(overview, track, content))
    return Read(_beside_tuned(registry, protocol, results, mixed, board), rejected)


def _beside_tuned(
    registry: Registry, protocol: Protocol, results: Path, mixed: bool, board: Board
) -> Board:
    """A board whose Markdown has the tuned rows below the default ones, where there are such."""
    if not tuned.was_tuned(results, protocol.name):
        return board

    def below() -> str:
        try:
            return tuned.section(tuned.read(registry, protocol, results, mixed))
        except LTBenchError as error:
            return f"## Tuned\n\n- No tuned rows are shown: {plain(str(error))}.\n"

    return replace(board, markdown=lambda: f"{board.markdown()}\n{below()}")


def _submitted(results: Path, protocol: Protocol, remarks: list[str]) -> dict[str, Submission]:
    """Who submitted which rows, and with what; what does not count is remarked."""
    found: dict[str, Submission] = {}
    for path, kept in submissions.read_all(results, protocol.name):
        if isinstance(kept, Kept):
            found[kept.recipe] = kept.submission
        else:
            remarks.append(f"submission {path.stem} does not count: {kept}")
    return found


def _without_beyond(
    results: Path, protocol: Protocol, found: Sequence[Record], remarks: list[str]
) -> list[Record]:
    """The records of a board of a track's own, which ranks no row with more than is given."""
    submitted = _submitted(results, protocol, remarks)
    beyond = {recipe: one for recipe, one in submitted.items() if one.resources.beyond}
    for recipe, one in sorted(beyond.items()):
        told = ", ".join(one.resources.beyond)
        remarks.append(
            f"{recipe} by {one.who} was made with {told}, which {protocol.name} does not give, and "
            "is left out"
        )
    return [record for record in found if record.recipe not in beyond]


def _order(registry: Registry, protocol: Protocol, content: Leaderboard) -> Order | None:
    """How far the means stand in the order of published figures, where there are any."""
    found = ordered(registry, protocol)
    if found is None:
        return None
    ranking = content.asked[0]
    means = {row.recipe: row.measures[ranking].mean for row in content.rows if row.rank}
    known = {recipe: mean for recipe, mean in means.items() if mean is not None}
    return order_of(found[0], known, found[1])


def _finished(told: Columns) -> list[int]:
    """How many cells of each recipe ended well."""
    ok = np.array([kind.status == "ok" for kind in told.kinds], dtype=bool)[told.kind]
    count: list[int] = np.bincount(told.recipe[ok], minlength=len(told.recipes)).tolist()
    return count


def _verified(
    results: Path, protocol: Protocol, count: Mapping[str, int], remarks: list[str]
) -> list[Verified]:
    """What came of running cells again, by recipe and by whom; what does not count is remarked."""
    every: dict[tuple[str, str], list[Verification]] = {}
    stale = 0
    for path, found in verifications.read_all(results, protocol.name):
        if isinstance(found, str):
            remarks.append(f"{path.name} of {path.parent.name} does not count: {found}")
            continue
        record = records.read(
            records.path_of(results, found.protocol, found.recipe, found.seed, found.table)
        )
        if isinstance(record, Record) and verifications.of_record(found, record):
            every.setdefault((found.recipe, found.by), []).append(found)
        else:
            stale += 1
    if stale:
        what = "verification is" if stale == 1 else "verifications are"
        remarks.append(f"{stale} {what} of records that changed since, and do not count")
    told = []
    for (recipe, by), group in sorted(every.items()):
        outcomes = Counter(one.outcome for one in group)
        other = [
            f"{one.table} seed {one.seed} ({one.what})".strip()
            for one in group
            if one.outcome == "different"
        ]
        told.append(
            Verified(recipe, by, count.get(recipe, 0), outcomes["same"], outcomes["close"], other)
        )
    return told


def _without(told: Columns, rows: Sequence[int] | NDArray[np.int64]) -> Columns:
    return taken(told, np.delete(np.arange(len(told)), rows)) if len(rows) else told


def _protocol(registry: Registry, name: str | Path | Protocol, results: Path) -> Protocol:
    """The protocol of a name.

    Raises:
        LTBenchError: it is not here; tells if that is as the track of its records is not.
    """
    try:
        return registry.protocol(name)
    except LTBenchError as error:
        every = records.read_all(results, str(name))
        of = {one.track for one in every if isinstance(one, Record)} - registry.tracks().keys()
        if not of:
            raise
        where, tracks = results / str(name), ", ".join(sorted(of))
        left = f"{where} holds records of track {tracks}, which is not here"
        raise LTBenchError(f"{error}\n{left}; they are left in place") from None


def _remarked(board: Board, remarks: Sequence[str]) -> Board:
    """A board of a track's own, with what is to be known of the records below it."""
    if not remarks:
        return board
    below = "\n".join(f"- {plain(remark)}." for remark in remarks)
    tell = board.overview

    def told(found: Sequence[Record]) -> Overview:
        assert tell is not None
        own = tell(found)
        return replace(own, remarks=[*own.remarks, *remarks])

    return replace(
        board,
        markdown=lambda: f"{board.markdown()}\n{below}\n",
        overview=told if tell is not None else None,
    )


def _sound(
    track: Track[Any], found: Sequence[Record], results: Path, rejected: list[Rejected]
) -> list[Record]:
    """The records that the track can read; the others are told."""
    kept = []
    for record in found:
        reason = track.refused(record)
        if reason is None:
            kept.append(record)
        else:
            rejected.append(Rejected(place_of(results, record), reason))
    return kept


def _elsewhere(
    registry: Registry,
    track: Track[Any],
    protocol: Protocol,
    results: Path,
    rejected: list[Rejected],
    remarks: list[str],
    mixed: bool,
) -> Elsewhere:
    """The records of other protocols, each read once; the files that do not count are told too.

    What the track finds too unlike has none.
    """

    @cache
    def found(name: str) -> list[Record]:
        other = registry.protocol(name)
        unlike = track.unlike(protocol, other)
        if unlike is not None:
            remarks.append(f"nothing is set against {other.name}: {unlike}")
            return []
        there, more = records_of(other, results, registry.origin, mixed)
        rejected.extend(more)
        return there

    def told(name: str, measure: str) -> Mapping[tuple[str, int], float | None]:
        return {(one.recipe, one.seed): one.measures.get(measure) for one in found(name)}

    return told
