"""ltbench init: a protocol that fits data of one's own."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

import click

from ltbench.commands.options import PLUGINS, Place, registry_of
from ltbench.commands.printing import Command, print_entry


@click.command("init", cls=Command)
@click.option(
    "--data",
    "path",
    type=Place(),
    required=True,
    metavar="PATH",
    help="An image folder, a list file train.txt, an .npz file, a CSV or parquet file.",
)
@click.option("--target", metavar="COLUMN", help="The column of classes, of a table.")
@click.option("--name", required=True, help="What data and protocol are called, as 'my-birds'.")
@click.option("--into", type=Place(), default=Path(), metavar="FOLDER", help="Where it goes.")
@PLUGINS
def command(
    path: Path, target: str | None, name: str, into: Path, plugins: Sequence[str], strict: bool
) -> None:
    """Look at data of your own, tell what is there, and write a protocol NAME.toml that fits.

    Each choice in it has a comment; ltbench run then runs it as it is.
    """
    from ltbench.datasets.sniffing import source_of
    from ltbench.scaffolding.files import write
    from ltbench.scaffolding.proposals import proposed

    registry = registry_of(plugins, strict)
    source = source_of(path)
    proposal = proposed(registry, name, source, target)
    file = into / f"{name}.toml"
    write(into, {file.name: proposal.text})
    print_entry(proposal.seen)
    click.echo(f"\n{file} is written, with a comment on each choice; next:", err=True)
    click.echo(f"  ltbench run {quote(str(file))} --data {quote(f'{name}={source}')}", err=True)
