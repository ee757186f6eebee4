"""ltbench status: how far the cells of a protocol have come."""

import os
from collections.abc import Sequence
from pathlib import Path

import click

from ltbench.commands.options import DATA, JSON, PLUGINS, RESULTS, registry_of
from ltbench.commands.printing import duration, print_json


@click.command("status")
@click.argument("protocol")
@click.option("-m", "--method", "recipes", multiple=True, metavar="RECIPE")
@click.option("--seeds", type=int, metavar="N")
@DATA
@JSON
@RESULTS
@PLUGINS
def command(
    protocol: str,
    recipes: Sequence[str],
    seeds: int | None,
    data: Sequence[str],
    as_json: bool,
    results: Path,
    plugins: Sequence[str],
    strict: bool,
) -> None:
    """Tell how far the cells of PROTOCOL have come, and what is running."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
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
    click.echo(f"{standing.protocol}: {standing.cells} cells; done: {done}; left: {standing.left}")
    for cell in standing.running:
        click.echo(f"running: {cell}")
    for cell, reason in standing.faults.items():
        click.echo(f"to be tried again: {cell} {reason}")
    if standing.left:
        click.echo(f"about {duration(standing.seconds)} left with {jobs} jobs")
