"""ltbench plot: a figure of a board, for a paper."""

from collections.abc import Sequence
from pathlib import Path

import click

from ltbench.commands.options import MIXED, PLUGINS, RESULTS, Place, registry_of, tell_rejected
from ltbench.commands.printing import Command, say

KINDS = ("forest", "pareto", "recall", "ranks", "critical-difference")


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
@MIXED
@RESULTS
@PLUGINS
def command(
    protocol: str,
    kind: str,
    out: Path,
    mixed: bool,
    results: Path,
    plugins: Sequence[str],
    strict: bool,
) -> None:
    """Draw a figure of the board of PROTOCOL at the width of a column, readable in grey."""
    from ltbench.boards.overviews import overview_of
    from ltbench.site.figures import figure
    from ltbench.site.paper import plot, required

    required()
    registry = registry_of(plugins, strict)
    board, rejected, _ = overview_of(registry, protocol, results, mixed)
    plot(figure(board, kind), out)
    tell_rejected(rejected)
    say(out)
