"""ltbench merge: the records of several folders in one."""

from collections.abc import Sequence
from pathlib import Path

import click

from ltbench.commands.options import PLUGINS, Place, registry_of
from ltbench.commands.printing import Command
from ltbench.commands.tables import write_table
from ltbench.errors import LTBenchError


@click.command("merge", cls=Command)
@click.argument("folders", nargs=-1, required=True, type=Place())
@click.option("--into", required=True, type=Place(), metavar="FOLDER")
@PLUGINS
def command(folders: Sequence[Path], into: Path, plugins: Sequence[str], strict: bool) -> None:
    """Bring the records of several results FOLDERS together, as of shards.

    A cell in two of them must have one outcome; else nothing is merged. The tables of what changed
    are written anew.
    """
    from ltbench.results.merging import merge

    registry = registry_of(plugins, strict)

    def timed(track: str) -> set[str]:
        found = registry.tracks().get(track)
        return {one.name for one in found.measures if one.timed} if found is not None else set()

    def now(protocol: str, known: str) -> str:
        found = registry.protocol(protocol) if protocol in registry.protocols() else None
        return found.hash if found is not None and found.counts(known) else known

    done = merge(folders, into, timed, now)
    click.echo(
        f"{into}: {done.taken} records taken, {done.equal} were there already, "
        f"{done.others} others stay",
        err=True,
    )
    for protocol in done.protocols:
        try:
            _, path = write_table(registry, protocol, into)
            click.echo(f"{path} written", err=True)
        except LTBenchError as error:
            click.echo(f"no table of {protocol} was written: {error}", err=True)
