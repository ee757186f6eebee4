"""ltbench list: what there is, by name."""

from collections.abc import Sequence

import click

from ltbench.commands.options import DATA, JSON, PLUGINS, registry_of
from ltbench.commands.printing import Command, print_columns, print_json

KINDS = ("methods", "tracks", "protocols", "datasets", "observers")


@click.command("list", cls=Command)
@click.argument("kind", type=click.Choice(KINDS), required=False)
@DATA
@JSON
@PLUGINS
def command(
    kind: str | None,
    data: Sequence[str],
    as_json: bool,
    plugins: Sequence[str],
    strict: bool,
) -> None:
    """List methods, tracks, protocols, data sets and observers, or one KIND of them."""
    registry = registry_of(plugins, strict, data)
    if as_json:
        from ltbench.commands import inventory

        found = {k: inventory.entries(registry, k) for k in KINDS if kind in (k, None)}
        print_json(found[kind] if kind else found)
    else:
        from ltbench.registry.listing import lines

        for k in KINDS:
            if kind in (k, None):
                print_columns(lines(registry, k), None if kind else k)
