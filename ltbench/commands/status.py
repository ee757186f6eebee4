"""ltbench status: how far the cells of a protocol have come."""

from collections.abc import Sequence
from pathlib import Path

import click

from ltbench.commands.options import DATA, JSON, PLUGINS, RESULTS, registry_of
from ltbench.commands.printing import Command, duration, print_json, say
from ltbench.training.threads import begin_with_one


@click.command("status", cls=Command)
@click.argument("protocol")
@click.option("-m", "--method", "recipes", multiple=True, metavar="RECIPE")
@click.option("--seeds", metavar="N", help="How many, or which, as 10-14,101.")
@DATA
@JSON
@RESULTS
@PLUGINS
def command(
    protocol: str,
    recipes: Sequence[str],
    seeds: str | None,
    data: Sequence[str],
    as_json: bool,
    results: Path,
    plugins: Sequence[str],
    strict: bool,
) -> None:
    """Tell how far the cells of PROTOCOL have come, and what is running."""
    begin_with_one()
    from ltbench.running.plan import plan
    from ltbench.running.standing import standing_of
    from ltbench.training.environment import usable_cores

    planned = plan(
        registry_of(plugins, strict, data), protocol, recipes, seeds, results, mixed=True
    )
    jobs = max(1, usable_cores() // planned.protocol.compute.threads)
    standing = standing_of(planned, jobs)
    if as_json:
        print_json(standing)
        return
    done = ", ".join(f"{n} {status}" for status, n in standing.done.items()) or "none"
    say(f"{standing.protocol}: {standing.cells} cells; done: {done}; left: {standing.left}")
    for cell in standing.running:
        say(f"running: {cell}")
    for cell, reason in standing.faults.items():
        say(f"to be tried again: {cell} {reason}")
    if standing.left:
        say(f"about {duration(standing.seconds)} left with {jobs} jobs")
