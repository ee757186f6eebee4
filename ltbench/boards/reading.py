"""The board of a protocol, from the records that stand in a folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from ltbench.boards.leaderboard import Elsewhere, Leaderboard, build
from ltbench.boards.markdown import frame, markdown
from ltbench.boards.overview import overview
from ltbench.boards.published import quoted
from ltbench.boards.row_errors import row_errors, said, with_row_errors
from ltbench.contract.track import Board, Track
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.registry.registry import Registry
from ltbench.rendering.cells import amount, plain
from ltbench.rendering.overview import Overview
from ltbench.results import index, records
from ltbench.results.reading import counted, records_of, refuse_mixture, refuse_none, told_of
from ltbench.results.record_arrays import taken
from ltbench.results.records import Record, Rejected, place_of
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

    With `mixed`, records of several codes or devices stand together, which the board tells.

    Raises:
        LTBenchError: there are none, or some must not be put together.
    """
    protocol = _protocol(registry, protocol_name, results)
    track = registry.track(protocol.track)
    if type(track).compare is not Track.compare:
        found, rejected, remarks = told_of(protocol, results, registry.origin, mixed)
        refuse_none(protocol, results, len(found), rejected)
        found = _sound(track, found, results, rejected)
        board = track.compare(protocol, found)
        if board is not None:
            return Read(_remarked(board, remarks), rejected)
    told, rejected = index.read(results, protocol.name, stored(track.measures), track.name)
    refuse_none(protocol, results, len(told), rejected)
    refuse_mixture(protocol, results, told)
    provenance = counted(results / protocol.name, told, registry.origin, mixed)
    if not provenance.kept.all():
        told = taken(told, np.flatnonzero(provenance.kept))
    remarks = [*provenance.notes]
    elsewhere = _elsewhere(registry, track, protocol, results, rejected, remarks, mixed)
    content = build(track, protocol, told, elsewhere, quoted(registry, protocol), remarks)
    written = partial(markdown, content), partial(frame, content)
    return Read(Board(content, *written, partial(overview, track, content)), rejected)


def overview_of(
    registry: Registry,
    protocol_name: str | Path | Protocol,
    results: Path,
    mixed: bool = False,
    rows: bool = False,
) -> tuple[Overview, list[Rejected], list[Record]]:
    """The board of the records under `results` in the terms that all kinds share, and these.

    With `rows` it tells what the test rows add, of all predictions that are kept.

    Raises:
        LTBenchError: there is none, or its track tells no overview of it.
    """
    found = read(registry, protocol_name, results, mixed)
    protocol = registry.protocol(protocol_name)
    if found.board.overview is None:
        raise LTBenchError(
            f"the board of {protocol.name} is track {protocol.track}'s own and tells no overview, "
            f"so it has no page, figure or LaTeX; ltbench leaderboard {protocol.name} prints it"
        )
    made, _ = records_of(protocol, results, registry.origin, mixed)
    board = found.board.overview(made)
    if rows:
        board = _with_rows(registry.track(protocol.track), protocol, board, made, results)
    return board, found.rejected, made


def _with_rows(
    track: Track[Any],
    protocol: Protocol,
    board: Overview,
    made: Sequence[Record],
    results: Path,
) -> Overview:
    errors = row_errors(track, protocol, board.reference, made, results)
    of_seeds = {
        one.recipe: float(np.std(one.gains, ddof=1) / np.sqrt(len(one.gains)))
        for one in board.entries
        if len(one.gains) > 1
    }
    return replace(
        board,
        entries=[replace(one, rows_error=errors.get(one.recipe)) for one in board.entries],
        of_rows=said(errors, of_seeds, partial(amount, board.ranking)),
    )


def told_rows(
    registry: Registry, protocol: Protocol, found: Read, results: Path, mixed: bool = False
) -> Struct:
    """The content of a board with what the test rows add to it, where it is of the common kind."""
    content = found.board.content
    if not isinstance(content, Leaderboard):
        return content
    made, _ = records_of(protocol, results, registry.origin, mixed)
    return with_row_errors(registry.track(protocol.track), protocol, content, made, results)


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
