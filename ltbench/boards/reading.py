"""The board of a protocol, from the records that stand in a folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from ltbench.boards.leaderboard import Elsewhere, build
from ltbench.boards.markdown import frame, markdown
from ltbench.boards.published import quoted
from ltbench.contract.track import Board, Track
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.registry.registry import Registry
from ltbench.results import index, records
from ltbench.results.reading import records_of, refuse_mixture, refuse_none
from ltbench.results.records import Record, Rejected
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
        board = track.compare(protocol, found)
        if board is not None:
            return Read(board, rejected)
    told, rejected = index.read(results, protocol.name, stored(track.measures), track.name)
    refuse_none(protocol, results, len(told), rejected)
    refuse_mixture(protocol, results, told)
    elsewhere = _elsewhere(registry, results, rejected)
    content = build(track, protocol, told, elsewhere, quoted(registry, protocol))
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


def _elsewhere(registry: Registry, results: Path, rejected: list[Rejected]) -> Elsewhere:
    """The records of other protocols, each read once; the files that do not count are told too."""

    @cache
    def found(protocol: str) -> list[Record]:
        there, more = records_of(registry.protocol(protocol), results)
        rejected.extend(more)
        return there

    def told(protocol: str, measure: str) -> Mapping[tuple[str, int], float | None]:
        return {(one.recipe, one.seed): one.measures.get(measure) for one in found(protocol)}

    return told
