"""The board of a protocol, from the records that stand in a folder."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from ltbench.boards.leaderboard import Elsewhere, build
from ltbench.boards.markdown import frame, markdown, with_mixture
from ltbench.boards.published import quoted
from ltbench.contract.track import Board, Track
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.registry.registry import Registry
from ltbench.results import index, records
from ltbench.results.reading import counted, records_of, refuse_mixture, refuse_none, told_of
from ltbench.results.record_arrays import taken
from ltbench.results.records import Record, Rejected
from ltbench.scoring.measures import stored


@dataclass(frozen=True)
class Read:
    """A board, and the files beside its records that do not count."""

    board: Board
    rejected: list[Rejected]


def read(registry: Registry, protocol_name: str | Path, results: Path, mixed: bool = False) -> Read:
    """The board of the records that stand under `results`.

    With `mixed`, records of several codes or devices stand together, which the board tells.

    Raises:
        LTBenchError: there are none, or some must not be put together.
    """
    protocol = _protocol(registry, protocol_name, results)
    track = registry.track(protocol.track)
    if type(track).compare is not Track.compare:
        found, rejected, notes = told_of(protocol, results, registry.origin, mixed)
        refuse_none(protocol, results, len(found), rejected)
        board = track.compare(protocol, found)
        if board is not None:
            written = board.markdown
            told_too = replace(board, markdown=lambda: with_mixture(written(), notes))
            return Read(told_too, rejected)
    told, rejected = index.read(results, protocol.name, stored(track.measures), track.name)
    refuse_none(protocol, results, len(told), rejected)
    refuse_mixture(protocol, results, told)
    provenance = counted(results / protocol.name, told, registry.origin, mixed)
    if not provenance.kept.all():
        told = taken(told, np.flatnonzero(provenance.kept))
    elsewhere = _elsewhere(registry, results, rejected, mixed)
    published = quoted(registry, protocol)
    content = build(track, protocol, told, elsewhere, published, provenance.notes)
    return Read(Board(content, partial(markdown, content), partial(frame, content)), rejected)


def _protocol(registry: Registry, name: str | Path, results: Path) -> Protocol:
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
        left = f"{results / name} holds records of track {', '.join(sorted(of))}, which is not here"
        raise LTBenchError(f"{error}\n{left}; they are left in place") from None


def _elsewhere(
    registry: Registry, results: Path, rejected: list[Rejected], mixed: bool
) -> Elsewhere:
    """The records of other protocols, each read once; the files that do not count are told too."""

    @cache
    def found(protocol: str) -> list[Record]:
        there, more = records_of(registry.protocol(protocol), results, registry.origin, mixed)
        rejected.extend(more)
        return there

    def told(protocol: str, measure: str) -> Mapping[tuple[str, int], float | None]:
        return {(one.recipe, one.seed): one.measures.get(measure) for one in found(protocol)}

    return told
