"""ltbench list: what there is, by name."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ltbench.commands.options import JSON, PLUGINS, registry_of
from ltbench.commands.printing import print_columns, print_json

if TYPE_CHECKING:
    from ltbench.registry.registry import Registry

KINDS = ("methods", "tracks", "protocols", "datasets", "observers")


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS), required=False)
@JSON
@PLUGINS
def command(kind: str | None, as_json: bool, plugins: Sequence[str], strict: bool) -> None:
    """List methods, tracks, protocols, data sets and observers, or one KIND of them."""
    registry = registry_of(plugins, strict)
    if as_json:
        from ltbench.commands import inventory

        found = {k: inventory.entries(registry, k) for k in KINDS if kind in (k, None)}
        print_json(found[kind] if kind else found)
    else:
        for k in KINDS:
            if kind in (k, None):
                print_columns(_lines(registry, k), None if kind else k)


def _lines(registry: "Registry", kind: str) -> Sequence[tuple[str, ...]]:
    """The columns of a plain listing, found without importing torch."""
    if kind == "methods":
        return [(o.name, o.reference, o.summary) for o, _ in registry.outlines()]
    if kind == "protocols":
        return [(name, f"version {version}", told) for name, version, told in registry.summaries()]
    if kind == "tracks":
        return registry.track_summaries()
    if kind == "observers":
        return registry.observer_summaries()
    return [(name,) for name in sorted(registry.datasets())]
