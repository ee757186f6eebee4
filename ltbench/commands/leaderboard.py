"""ltbench leaderboard: the table of a protocol, from its records."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ltbench.commands.options import (
    MIXED,
    PLUGINS,
    RESULTS,
    registry_of,
    tell_rejected,
    with_records,
)
from ltbench.commands.printing import Command, say, shown, written
from ltbench.commands.tables import write_table
from ltbench.errors import LTBenchError

if TYPE_CHECKING:
    from ltbench.boards import shipped
    from ltbench.contract.track import Board
    from ltbench.registry.registry import Registry
    from ltbench.results.records import Rejected


@click.command("leaderboard", cls=Command)
@click.argument("protocol", required=False)
@click.option("--format", "form", type=click.Choice(["md", "csv", "json", "latex"]), default="md")
@click.option("--write", is_flag=True, help="Write the table beside its records.")
@click.option("--all", "every", is_flag=True, help="Every protocol that has records, one by one.")
@click.option(
    "--test-agnostic",
    is_flag=True,
    help="Accuracy on test splits with a tail of their own, from stored predictions.",
)
@click.option("--stability", is_flag=True, help="What is lost from factor 10 to factor 200.")
@click.option("--tuned", is_flag=True, help="The tuned rows alone, with what tuning changed.")
@click.option("--with-tuned", is_flag=True, help="Tuned and default rows in one order of ranks.")
@click.option("--own", is_flag=True, help="Your records alone, not among published ones.")
@MIXED
@RESULTS
@PLUGINS
def command(
    protocol: str | None,
    form: str,
    write: bool,
    every: bool,
    test_agnostic: bool,
    stability: bool,
    tuned: bool,
    with_tuned: bool,
    own: bool,
    mixed: bool,
    results: Path,
    plugins: Sequence[str],
    strict: bool,
) -> None:
    """Print the leaderboard of PROTOCOL from its records, or write it beside them.

    An installed ltbench brings published boards along: without records of your own the board is
    that one, and yours stand among its rows. --own leaves them out, and so does --write.
    """
    from ltbench.boards import shipped

    registry = registry_of(plugins, strict)
    apart = {
        "--test-agnostic": test_agnostic,
        "--stability": stability,
        "--tuned": tuned,
        "--with-tuned": with_tuned,
    }
    chosen = [name for name, given in apart.items() if given]
    if len(chosen) > 1:
        raise LTBenchError(f"{' and '.join(chosen)} are tables of their own; choose one")
    if every == (protocol is not None):
        raise LTBenchError("name one protocol, or say --all for every one that has records")
    if write and (chosen or form != "md"):
        raise LTBenchError("--write is for the table of ranks, in Markdown, beside its records")
    if form == "latex" and chosen:
        raise LTBenchError("--format latex is for the table of ranks")
    ranked = partial(_ranked, rows=form == "json")
    find = _agnostic if test_agnostic else _stability if stability else ranked
    if tuned or with_tuned:
        find = partial(_tuned, with_default=with_tuned)
    alone = own or write or test_agnostic or stability or not shipped.serve(results)
    told = False
    names = with_records(results, () if alone else shipped.known()) if every else [str(protocol)]
    for name in names:
        if write:
            found, path = write_table(registry, name, results, mixed)
            click.echo(f"{path} written", err=True)
            told |= bool(found.rejected)
            continue
        with _place(registry, name, results, alone) as place:
            click.echo(place.told, err=True, nl=False)
            asked = name, place.results, mixed or place.mixed
            if form == "latex":
                text, rejected = _latex(registry, *asked)
            else:
                board, rejected = find(registry, *asked)
                text = written(board, form)
        say(shown(text) if form == "md" else text, end="")
        tell_rejected(rejected)
        told |= bool(rejected)
    if told:
        sys.exit(2)


@contextmanager
def _place(
    registry: "Registry", protocol: str, results: Path, alone: bool
) -> "Iterator[shipped.Among]":
    """Where the records of a protocol are read: one's own `alone`, or among published ones."""
    from ltbench.boards import shipped

    try:
        known = None if alone else registry.protocol(protocol)
    except LTBenchError:  # whoever reads the board says more
        known = None
    if known is None:
        yield shipped.Among(results)
        return
    with shipped.among(results, known) as place:
        yield place


def _ranked(
    registry: "Registry", protocol: str, results: Path, mixed: bool, rows: bool = False
) -> "tuple[Board, list[Rejected]]":
    """The board of ranks; with `rows` its content tells what the test rows add."""
    from ltbench.boards.overviews import told_rows
    from ltbench.boards.reading import read

    found = read(registry, protocol, results, mixed)
    if not rows:
        return found.board, found.rejected
    content = told_rows(registry, registry.protocol(protocol), found, results, mixed)
    return replace(found.board, content=content), found.rejected


def _latex(
    registry: "Registry", protocol: str, results: Path, mixed: bool
) -> "tuple[str, list[Rejected]]":
    from ltbench.boards.latex import latex
    from ltbench.boards.overviews import overview_of

    overview, rejected, _ = overview_of(registry, protocol, results, mixed)
    return latex(overview), rejected


def _stability(
    registry: "Registry", protocol: str, results: Path, mixed: bool
) -> "tuple[Board, list[Rejected]]":
    from ltbench.boards import markdown, stability
    from ltbench.contract.track import Board

    table, rejected = stability.evaluate(registry, protocol, results, mixed)
    written = partial(markdown.stability, table), partial(stability.frame, table)
    return Board(table, *written), rejected


def _tuned(
    registry: "Registry", protocol: str, results: Path, mixed: bool, with_default: bool
) -> "tuple[Board, list[Rejected]]":
    from ltbench.boards import tuned

    return tuned.board(tuned.read(registry, protocol, results, mixed, with_default)), []


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
