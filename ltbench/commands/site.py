"""ltbench site: pages of boards, methods and protocols."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ltbench.commands.options import (
    MIXED,
    PLUGINS,
    RESULTS,
    Place,
    registry_of,
    tell_rejected,
    with_records,
)
from ltbench.commands.printing import Command, say


@click.command("site", cls=Command)
@click.argument("protocols", nargs=-1, metavar="[PROTOCOL]...")
@click.option(
    "--into",
    type=Place(),
    required=True,
    metavar="FOLDER",
    help="Where the site is written; an earlier one there is replaced.",
)
@MIXED
@RESULTS
@PLUGINS
def command(
    protocols: Sequence[str],
    into: Path,
    mixed: bool,
    results: Path,
    plugins: Sequence[str],
    strict: bool,
) -> None:
    """Write a static site of the boards of PROTOCOLs, or of all that have records.

    It opens from a disk as from any host, and asks no other host for anything.
    """
    from ltbench.site.build import build, required
    from ltbench.site.writing import refuse, write

    required()
    refuse(into)
    names = protocols or with_records(results)
    site = build(registry_of(plugins, strict), results, names, mixed)
    write(into, site.files)
    for name, reason in site.torn.items():
        click.echo(f"{name} is left out: {reason}", err=True)
    tell_rejected(site.rejected)
    say(into / "index.html")
    if site.torn or site.rejected:
        sys.exit(2)
