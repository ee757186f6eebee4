"""The board of a protocol, from the records that stand in a folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ltbench.boards.leaderboard import Elsewhere, build
from ltbench.boards.markdown import frame, markdown
from ltbench.boards.published import quoted
from ltbench.contract.track import Board, Track
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.registry.registry import Registry
from ltbench.rendering.cells import plain
from ltbench.results import index, records
from ltbench.results.reading import of_one_code, records_of, refuse_mixture, refuse_none
from ltbench.results.record_arrays import columns, taken
from ltbench.results.records import Origin, Record, Rejected, place_of
from ltbench.scoring.measures import stored


@dataclass(frozen=True)
class Read:
    """A board, and the files beside its records that do not count."""

    board: Board
    rejected: list[Rejected]


def read(registry: Registry, protocol_name: str | Path | Protocol, results: Path) -> Read:
    """The board of the records that stand under `results`.

    Raises:
        LTBenchError: there are none, or some were made under another version of the protocol.
    """
    protocol = _protocol(registry, protocol_name, results)
    track = registry.track(protocol.track)
    if type(track).compare is not Track.compare:
        found, rejected = records_of(protocol, results)
        refuse_none(protocol, results, len(found), rejected)
        found, remarks = _sound(registry, track, found, results, rejected)
        board = track.compare(protocol, found)
        if board is not None:
            return Read(_remarked(board, remarks), rejected)
    told, rejected = index.read(results, protocol.name, stored(track.measures), track.name)
    refuse_none(protocol, results, len(told), rejected)
    refuse_mixture(protocol, results, told)
    count, remarks = of_one_code(told, partial(_code, registry))
    if remarks:
        told = taken(told, np.flatnonzero(count))
    elsewhere = _elsewhere(registry, track, protocol, results, rejected, remarks)
    content = build(track, protocol, told, elsewhere, quoted(registry, protocol), remarks)
    return Read(Board(content, partial(markdown, content), partial(frame, content)), rejected)


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
    said = "\n".join(f"- {plain(remark)}." for remark in remarks)
    return replace(board, markdown=lambda: f"{board.markdown()}\n{said}\n")


def _sound(
    registry: Registry,
    track: Track[Any],
    found: Sequence[Record],
    results: Path,
    rejected: list[Rejected],
) -> tuple[list[Record], list[str]]:
    """The records that count: those that the track can read, of one code for each recipe."""
    kept = []
    for record in found:
        reason = track.refused(record)
        if reason is None:
            kept.append(record)
        else:
            rejected.append(Rejected(place_of(results, record), reason))
    count, said = of_one_code(columns(kept), partial(_code, registry))
    return [record for record, counts in zip(kept, count.tolist(), strict=True) if counts], said


def _code(registry: Registry, recipe: str) -> dict[str, Origin] | None:
    """The code of a recipe as it is now; None where that is not to be had."""
    try:
        return registry.origins(registry.recipe(recipe))
    except LTBenchError:
        return None


def _elsewhere(
    registry: Registry,
    track: Track[Any],
    protocol: Protocol,
    results: Path,
    rejected: list[Rejected],
    remarks: list[str],
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
        there, more = records_of(other, results)
        rejected.extend(more)
        return there

    def told(name: str, measure: str) -> Mapping[tuple[str, int], float | None]:
        return {(one.recipe, one.seed): one.measures.get(measure) for one in found(name)}

    return told
