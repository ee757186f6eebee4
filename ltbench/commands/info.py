"""ltbench info: all about one thing."""

from collections.abc import Sequence

import click

from ltbench.commands.options import DATA, JSON, PLUGINS, registry_of
from ltbench.commands.printing import Command, print_entry, print_json


@click.command("info", cls=Command)
@click.argument("name")
@click.option(
    "--size",
    type=click.IntRange(min=1),
    metavar="PIXELS",
    help="The side to which the images of a data set of files are cut.",
)
@DATA
@JSON
@PLUGINS
def command(
    name: str,
    size: int | None,
    data: Sequence[str],
    as_json: bool,
    plugins: Sequence[str],
    strict: bool,
) -> None:
    """Tell all about one method, track, protocol, data set or observer."""
    from ltbench.commands import inventory

    entry = inventory.entry(registry_of(plugins, strict, data), name, size)
    if as_json:
        print_json(entry)
        return
    entry.pop("summary", None)  # the first line of the description
    print_entry(entry)
