"""ltbench migrate: records of an earlier form, carried over to this one."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ltbench.commands.options import PLUGINS, Place, registry_of, tell_rejected
from ltbench.commands.printing import Command
from ltbench.results.folder import results_folder


@click.command("migrate", cls=Command)
@click.argument("results", type=Place(), default=results_folder)
@click.option(
    "--was",
    multiple=True,
    type=Place(),
    metavar="FOLDER",
    help="Where the methods' files stand as they were, such as an earlier checkout; "
    "may be repeated.",
)
@PLUGINS
def command(results: Path, was: Sequence[Path], plugins: Sequence[str], strict: bool) -> None:
    """Carry the records in RESULTS over to the form of this version.

    Each old seal is checked, and each record is written anew in its place. A record of a method
    whose file says what it said stays one of that method's code; another is run again when asked.
    """
    from ltbench.running.migrating import migrate

    done = migrate(registry_of(plugins, strict), results, list(was))
    click.echo(f"{results}: {done.carried} records carried over, {done.known} were", err=True)
    for (name, reason), count in sorted(done.lost.items()):
        click.echo(f"{count} records of {name} will be run again: {reason}", err=True)
    tell_rejected(done.rejected)
    sys.exit(2 if done.rejected else 0)
