"""ltbench merge: the records of several folders in one."""

from collections.abc import Sequence
from pathlib import Path

import click

from ltbench.commands.printing import Command


@click.command("merge", cls=Command)
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--into", required=True, type=click.Path(path_type=Path), metavar="FOLDER")
def command(folders: Sequence[Path], into: Path) -> None:
    """Bring the records of several results FOLDERS together, as of shards.

    A cell in two of them must have one outcome; else nothing is merged.
    """
    from ltbench.results.merging import merge

    done = merge(folders, into)
    click.echo(f"{into}: {done.taken} records taken, {done.known} were there", err=True)
