"""ltbench merge: the records of several folders in one."""

from collections.abc import Sequence
from pathlib import Path

import click

from ltbench.commands.options import PLUGINS, registry_of


@click.command("merge")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--into", required=True, type=click.Path(path_type=Path), metavar="FOLDER")
@PLUGINS
def command(folders: Sequence[Path], into: Path, plugins: Sequence[str], strict: bool) -> None:
    """Bring the records of several results FOLDERS together, as of shards.

    A cell in two of them must have one outcome; else nothing is merged.
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
    click.echo(f"{into}: {done.taken} records taken, {done.known} were there", err=True)
