"""ltbench leaderboard: the table of a protocol, from its records."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ltbench.commands.options import MIXED, PLUGINS, RESULTS, registry_of, tell_rejected
from ltbench.errors import LTBenchError

if TYPE_CHECKING:
    from ltbench.contract.track import Board
    from ltbench.registry.registry import Registry
    from ltbench.results.records import Rejected


@click.command("leaderboard")
@click.argument("protocol")
@click.option("--format", "form", type=click.Choice(["md", "csv", "json"]), default="md")
@click.option(
    "--test-agnostic",
    is_flag=True,
    help="Accuracy on test splits with a tail of their own, from stored predictions.",
)
@click.option("--stability", is_flag=True, help="What is lost from factor 10 to factor 200.")
@MIXED
@RESULTS
@PLUGINS
def command(
    protocol: str,
    form: str,
    test_agnostic: bool,
    stability: bool,
    mixed: bool,
    results: Path,
    plugins: Sequence[str],
    strict: bool,
) -> None:
    """Print the leaderboard of PROTOCOL from its records."""
    registry = registry_of(plugins, strict)
    if test_agnostic and stability:
        raise LTBenchError("--test-agnostic and --stability are tables of their own; choose one")
    found = _agnostic if test_agnostic else _stability if stability else _ranked
    board, rejected = found(registry, protocol, results, mixed)
    click.echo(_written(board, form), nl=False)
    tell_rejected(rejected)
    if rejected:
        sys.exit(2)


def _written(board: "Board", form: str) -> str:
    if form == "md":
        return board.markdown()
    if form == "csv":
        text: str = board.frame().to_csv(index=False, lineterminator="\n")
        return text
    import msgspec

    return msgspec.json.format(msgspec.json.encode(board.content), indent=1).decode() + "\n"


def _ranked(
    registry: "Registry", protocol: str, results: Path, mixed: bool
) -> "tuple[Board, list[Rejected]]":
    from ltbench.boards.reading import read

    found = read(registry, protocol, results, mixed)
    return found.board, found.rejected


def _stability(
    registry: "Registry", protocol: str, results: Path, mixed: bool
) -> "tuple[Board, list[Rejected]]":
    from ltbench.boards import markdown, stability
    from ltbench.contract.track import Board

    table, rejected = stability.evaluate(registry, protocol, results, mixed)
    written = partial(markdown.stability, table), partial(stability.frame, table)
    return Board(table, *written), rejected


def _agnostic(
    registry: "Registry", protocol: str, results: Path, mixed: bool
) -> "tuple[Board, list[Rejected]]":
    from ltbench.boards import agnostic, markdown
    from ltbench.contract.track import Board

    read = registry.protocol(protocol)
    table, rejected = agnostic.evaluate(
        registry.track(read.track), read, results, registry.origin, mixed
    )
    written = partial(markdown.agnostic, table), partial(agnostic.frame, table)
    return Board(table, *written), rejected
