"""The shared checks of a method, in a process of its own."""

from functools import partial

from ltbench.contract.recipes import Recipe
from ltbench.registry.registry import Registry
from ltbench.running.processes import Died, Limits, Worker, can_fork
from ltbench.testing import check_method
from ltbench.testing.report import Finding, Report


def checked(recipe: Recipe, registry: Registry, thorough: bool = False) -> Report:
    """What the checks find; nothing that a method does in them reaches what comes after.

    Where there can be no process of its own they run in this one.
    """
    if not can_fork():
        return check_method(recipe, registry, thorough)
    try:
        checking = Worker(partial(check_method, recipe, registry, thorough), Limits())
        report: Report = checking.result()
    except Died as death:
        return Report(recipe.text, [Finding("all", "failed", death.args[1])])
    return report
