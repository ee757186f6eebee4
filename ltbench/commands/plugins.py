"""ltbench plugins: what is used, and what is left out."""

from collections.abc import Sequence

import click

from ltbench.commands.options import JSON, PLUGINS, registry_of
from ltbench.commands.printing import print_json


@click.command("plugins")
@JSON
@PLUGINS
def command(as_json: bool, plugins: Sequence[str], strict: bool) -> None:
    """Show which plugins are used, which are left out, and why."""
    from ltbench.commands import inventory

    entries = inventory.plugins(registry_of(plugins, strict))
    if as_json:
        print_json(entries)
        return
    for entry in entries:
        provided = ", ".join(entry["provides"]) or "nothing"
        click.echo(f"{entry['plugin']} ({entry['package']} {entry['version']}): {provided}")
        for reason in entry["left_out"]:
            click.echo(f"  left out: {reason}")
