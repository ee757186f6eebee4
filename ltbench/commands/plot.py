"""ltbench plot: a figure of a board, for a paper."""

from collections.abc import Sequence
from pathlib import Path

import click

from ltbench.commands.options import MIXED, PLUGINS, RESULTS, Place, registry_of, tell_rejected
from ltbench.commands.printing import Command, say
from ltbench.errors import LTBenchError

BADGE = "badge"
KINDS = ("forest", "pareto", "recall", "ranks", "critical-difference", BADGE)


@click.command("plot", cls=Command)
@click.argument("protocol")
@click.option("--kind", type=click.Choice(KINDS), required=True, help="What is drawn.")
@click.option(
    "--out",
    type=Place(),
    required=True,
    metavar="FILE",
    help="Where to; the ending .svg, .pdf or .png says in which form.",
)
@click.option("--recipe", metavar="RECIPE", help="Of which row, for a badge.")
@MIXED
@RESULTS
@PLUGINS
def command(
    protocol: str,
    kind: str,
    out: Path,
    recipe: str | None,
    mixed: bool,
    results: Path,
    plugins: Sequence[str],
    strict: bool,
) -> None:
    """Draw a figure of the board of PROTOCOL at the width of a column, readable in grey.

    A badge is of one row, as SVG, for the page of whoever made its method.
    """
    from ltbench.boards.overviews import overview_of
    from ltbench.results.records import write_bytes
    from ltbench.site.badge import badge
    from ltbench.site.figures import figure
    from ltbench.site.paper import plot, required

    if (kind == BADGE) != (recipe is not None):
        raise LTBenchError("--kind badge and --recipe RECIPE go together, as -m spelled it")
    if kind == BADGE and out.suffix.lower() != ".svg":
        raise LTBenchError(f"{out}: a badge ends in .svg")
    if kind != BADGE:
        required()
    registry = registry_of(plugins, strict)
    board, rejected, _ = overview_of(registry, protocol, results, mixed)
    if recipe is None:
        plot(figure(board, kind), out)
    else:
        write_bytes(out, badge(board, registry.recipe(recipe).text).encode())
    tell_rejected(rejected)
    say(out)
