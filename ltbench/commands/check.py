"""ltbench check: methods, put through the shared checks."""

import sys
from collections.abc import Sequence

import click

from ltbench.commands.options import JSON, PLUGINS, TRACES, registry_of
from ltbench.commands.printing import Command, print_json, say
from ltbench.errors import LTBenchError


@click.command("check", cls=Command)
@click.argument("recipes", nargs=-1, metavar="[RECIPE]...")
@click.option("--all", "every", is_flag=True, help="All methods, as without a RECIPE.")
@click.option("--thorough", is_flag=True, help="Also run a small cell, and one with false labels.")
@JSON
@TRACES
@PLUGINS
def command(
    recipes: Sequence[str],
    every: bool,
    thorough: bool,
    as_json: bool,
    plugins: Sequence[str],
    strict: bool,
) -> None:
    """Put methods through the shared checks; all methods by default.

    Exit code 0 says that all pass, or fail as they say they will, 1 that some do not. With --json
    each finding is passed, failed, expected or not applicable.
    """
    from ltbench.running.checking import checked

    if every and recipes:
        raise LTBenchError(f"--all is every method; leave out {' '.join(recipes)}, or --all")
    registry = registry_of(plugins, strict)
    reports = [
        checked(registry.recipe(text), registry, thorough) for text in recipes or registry.methods()
    ]
    if as_json:
        print_json([report.as_dict() for report in reports])
    else:
        for report in reports:
            say(str(report))
    sys.exit(0 if all(report.passed for report in reports) else 1)
