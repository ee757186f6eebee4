"""ltbench check: methods, put through the shared checks."""

import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

import click

from ltbench.commands.options import JSON, PLUGINS, registry_of
from ltbench.commands.printing import Command, print_json, say
from ltbench.errors import LTBenchError

if TYPE_CHECKING:
    from ltbench.contract.recipes import Recipe
    from ltbench.registry.registry import Registry
    from ltbench.testing.report import Report


@click.command("check", cls=Command)
@click.argument("recipes", nargs=-1, metavar="[RECIPE]...")
@click.option("--all", "every", is_flag=True, help="All methods, as without a RECIPE.")
@click.option("--thorough", is_flag=True, help="Also run a small cell, and one with false labels.")
@JSON
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
    if every and recipes:
        raise LTBenchError(f"--all is every method; leave out {' '.join(recipes)}, or --all")
    registry = registry_of(plugins, strict)
    reports = [
        _report(registry.recipe(text), registry, thorough) for text in recipes or registry.methods()
    ]
    if as_json:
        print_json([report.as_dict() for report in reports])
    else:
        for report in reports:
            say(str(report))
    sys.exit(0 if all(report.passed for report in reports) else 1)


def _report(recipe: "Recipe", registry: "Registry", thorough: bool) -> "Report":
    """What is found in a process of its own, so that nothing a method does reaches the others."""
    from ltbench.running.processes import Died, Limits, Worker, can_fork
    from ltbench.testing import check_method
    from ltbench.testing.report import Finding, Report

    if not can_fork():
        return check_method(recipe, registry, thorough)
    try:
        checking = Worker(partial(check_method, recipe, registry, thorough), Limits())
        return cast("Report", checking.result())
    except Died as death:
        return Report(recipe.text, [Finding("all", "failed", death.args[1])])
