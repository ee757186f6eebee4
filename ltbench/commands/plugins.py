"""ltbench plugins: what is used, and what is left out."""

from collections.abc import Sequence

import click

from ltbench.commands.options import JSON, PLUGINS, registry_of
from ltbench.commands.printing import Command, print_json, say


@click.command("plugins", cls=Command)
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
        say(f"{entry['plugin']} ({entry['package']} {entry['version']}): {provided}")
        for reason in entry["left_out"]:
            say(f"  left out: {reason}")
        if entry["warning"]:
            say(f"  warning: {entry['warning']}")
        if entry["put_back"]:
            say(f"  put back what it changed: {', '.join(entry['put_back'])}")
