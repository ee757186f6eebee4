"""ltbench info: all about one thing."""

from collections.abc import Sequence
from typing import Any

import click

from ltbench.commands.options import DATA, JSON, PLUGINS, registry_of
from ltbench.commands.printing import Command, print_entry, print_json, say
from ltbench.errors import LTBenchError

SHAPES = """\
N rows, C classes, D features. labels [N] int64; scores [N, C]; train is an ltbench.Rows of inputs
[N, ...] and labels [N]; batch an ltbench.Batch, whose targets are pairs of labels [N] and a share;
output an ltbench.Output: heads, each scores [N, C], and features [N, D]. run tells counts [C],
seen [C], progress, phase, device and a seeded rng. ltbench info --hooks TRACK: those a track adds.
"""


@click.command("info", cls=Command)
@click.argument("name", required=False)
@click.option(
    "--hooks", is_flag=True, help="Every hook of a method: when, what, whose; of a track its own."
)
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
    name: str | None,
    hooks: bool,
    size: int | None,
    data: Sequence[str],
    as_json: bool,
    plugins: Sequence[str],
    strict: bool,
) -> None:
    """Tell all about one method, track, protocol, data set or observer; or about hooks."""
    from ltbench.commands import inventory

    if hooks:
        _tell_hooks(inventory.hook_entries(registry_of(plugins, strict, data), name), name, as_json)
        return
    if name is None:
        raise LTBenchError("name what to tell about (ltbench list shows all), or say --hooks")
    entry = inventory.entry(registry_of(plugins, strict, data), name, size)
    if as_json:
        print_json(entry)
        return
    entry.pop("summary", None)  # the first line of the description
    print_entry(entry)


def _tell_hooks(entries: list[dict[str, Any]], track: str | None, as_json: bool) -> None:
    if as_json:
        print_json(entries)
    elif not entries:
        say(f"{track} adds no hook to those of all tracks, which ltbench info --hooks tells")
    else:
        if track is None:
            say(SHAPES)
        for entry in entries:
            print_entry({entry.pop("hook"): entry})
