"""Overviews of the records in a folder, and what test rows add to a board."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from ltbench.boards.leaderboard import Leaderboard
from ltbench.boards.reading import Read, read
from ltbench.boards.row_errors import row_errors, said, with_row_errors
from ltbench.contract.track import Track
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.registry.registry import Registry
from ltbench.rendering.cells import amount
from ltbench.rendering.overview import Overview
from ltbench.results.reading import records_of
from ltbench.results.records import Record, Rejected


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
