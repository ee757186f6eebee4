"""ltbench run: the cells of a protocol, then its leaderboard."""

import shlex
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ltbench.commands.options import CELLS, DATA, JSON, MIXED, PLUGINS, RESULTS, TRACES, registry_of
from ltbench.commands.printing import Command, duration, print_json, say
from ltbench.errors import LTBenchError
from ltbench.running.request import jobs_of, limits_of, shard_of
from ltbench.training.threads import begin_with_one

if TYPE_CHECKING:
    from ltbench.registry.registry import Registry
    from ltbench.results.records import Record, Rejected
    from ltbench.running.cell import Cell
    from ltbench.running.cluster import Cluster
    from ltbench.running.observers import Observer
    from ltbench.running.plan import Plan
    from ltbench.running.processes import Limits


@click.command("run", cls=Command)
@click.argument("protocol")
@click.option(
    "-m",
    "--method",
    "recipes",
    multiple=True,
    metavar="RECIPE",
    help="What to run, as in 'ldam+drw+sam(rho=0.8)'; may be repeated. "
    "Without it, the protocol's own recipes.",
)
@CELLS
@click.option("--shard", metavar="I/N", help="The I-th of N parts of the cells, to be merged.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first cell that fails.")
@click.option("--fresh", is_flag=True, help="Redo the cells that have a record.")
@click.option("--sealed", is_flag=True, help="Close data and results to methods, on Linux.")
@click.option("--dry-run", is_flag=True, help="Say what would run and about how long it takes.")
@MIXED
@DATA
@JSON
@RESULTS
@TRACES
@PLUGINS
def command(
    protocol: str,
    recipes: Sequence[str],
    seeds: str | None,
    jobs: int | None,
    device: str,
    executor: str,
    address: str | None,
    gpu_share: float | None,
    shard: str | None,
    timeout: float | None,
    memory: float | None,
    fail_fast: bool,
    fresh: bool,
    sealed: bool,
    no_sharing: bool,
    dry_run: bool,
    log_json: str | None,
    observe: Sequence[str],
    mixed: bool,
    data: Sequence[str],
    as_json: bool,
    results: Path,
    plugins: Sequence[str],
    strict: bool,
) -> None:
    """Run PROTOCOL, then print its leaderboard; with --json as JSON.

    PROTOCOL is a name, or the path of a TOML file. Cells that have a record are kept, so the
    same command continues a run that was stopped. Of a shard no leaderboard is made.
    """
    begin_with_one()  # counts only before torch is loaded
    jobs_of(jobs, 1)
    limits = limits_of(timeout, memory)
    part = shard_of((1, 1) if shard is None else shard)
    for name, given in (("address", address), ("gpu-share", gpu_share)):
        if given is not None and executor != "ray":
            raise LTBenchError(f"--{name} {given} is for --executor ray")
    from ltbench.running import plan as plans
    from ltbench.running.skips import settled
    from ltbench.training.environment import usable_cores

    cluster = cluster_of(address, gpu_share, jobs) if executor == "ray" else None
    registry = registry_of(plugins, strict, data)
    plan = plans.plan(
        registry,
        protocol,
        recipes,
        seeds,
        results,
        device,
        fresh,
        part,
        bool(cluster),
        mixed,
        sealed,
        not no_sharing,
    )
    at_once = usable_cores() // plan.protocol.compute.threads if plan.device.type == "cpu" else 1
    jobs = jobs or max(1, at_once)
    for recipe in {cell.recipe.text: cell.recipe for cell in plan.cells}.values():
        for warning in recipe.warnings:
            click.echo(f"{recipe.text}: {warning}", err=True)
    if sealed:
        _require_sealing(plan)
    for remark in plan.remarks:
        click.echo(remark, err=True)
    if dry_run:
        _tell_plan(plan, plans.estimate(plan, jobs), as_json)
        return
    observers = observers_of(registry, observe, log_json)
    made, stopped = run_cells(plan, jobs, limits, fail_fast, observers, cluster)
    if not stopped:
        made = settled(plan, made)
    rejected: list[Rejected] = []
    if part[1] > 1:
        _tell_shard(plan, made, part)
    elif made or plan.done:
        rejected = _show_table(registry, protocol, results, plan, made, as_json, mixed)
    if stopped:
        left = len(plan.todo) - len(made)
        command = shlex.join(["ltbench", *sys.argv[1:]])
        click.echo(f"{stopped} with {left} cells left; to continue: {command}", err=True)
        sys.exit(130 if stopped == "interrupted" else 1)
    count = Counter(record.status for record in made)
    if rejected or (recipes and count["skipped"]):
        sys.exit(2)
    sys.exit(0 if count.keys() <= {"ok", "skipped"} else 1)


def _require_sealing(plan: "Plan") -> None:
    """Refuses to promise what cannot be kept.

    Raises:
        LTBenchError: methods could open the data here.
    """
    from ltbench.running.closing import version

    if plan.keeper is None:
        raise LTBenchError(
            f"--sealed cannot be kept: cells of track {plan.track.name} hold their data here"
        )
    if not version():
        raise LTBenchError("--sealed cannot be kept: it needs a Linux kernel with Landlock")


def _show_table(
    registry: "Registry",
    protocol: str,
    results: Path,
    plan: "Plan",
    made: "list[Record]",
    as_json: bool,
    mixed: bool,
) -> "list[Rejected]":
    from ltbench.boards import shipped
    from ltbench.commands.printing import shown, written
    from ltbench.commands.tables import write_table
    from ltbench.results.folder import results_folder

    found, path = write_table(registry, protocol, results, mixed)
    say(written(found.board, "json") if as_json else shown(written(found.board, "md")), end="")
    count = Counter(record.status for record in made)
    told = ", ".join(f"{n} {status}" for status, n in count.items()) or "nothing left to run"
    click.echo(f"{path} written; {len(plan.done)} cells had a record, new: {told}", err=True)
    if plan.protocol.name in shipped.known():
        named = f" --results {shlex.quote(str(results))}" * (results != results_folder())
        shows = f"ltbench leaderboard {plan.protocol.name}{named}"
        click.echo(f"{shows} shows it among published rows", err=True)
    return found.rejected


def _tell_shard(plan: "Plan", made: "list[Record]", part: tuple[int, int]) -> None:
    """What is done of a shard, and what makes a table of all."""
    number, parts = part
    name, folder = plan.protocol.name, shlex.quote(str(plan.results))
    ended = len(plan.done) + sum(record.status in ("ok", "skipped") for record in made)
    say(
        f"{name}, shard {number}/{parts}: {ended} of {len(plan.cells)} cells are done, "
        f"{len(plan.cells) - ended} are left. A table is made of all {parts} shards, of which this "
        f"is one:\n  ltbench merge {folder} THE_OTHERS --into leaderboards\n"
        f"  ltbench leaderboard {name}"
    )


def cluster_of(address: str | None, gpu_share: float | None, jobs: int | None) -> "Cluster":
    from ltbench.running.cluster import Cluster

    return Cluster(address, 1.0 if gpu_share is None else gpu_share, jobs)


def observers_of(
    registry: "Registry", observe: Sequence[str], log_json: str | None
) -> "dict[str, Observer]":
    """Those asked for, and what shows the run unless standard error is for machines."""
    from ltbench.commands.progress import view
    from ltbench.running.observers import chosen

    shown = {"progress": view()} if log_json != "-" else {}
    logged = [f"json={log_json}"] if log_json is not None else []
    return {**shown, **chosen(registry, [*logged, *observe])}


def run_cells(
    plan: "Plan",
    jobs: int,
    limits: "Limits",
    fail_fast: bool,
    observers: "dict[str, Observer]",
    cluster: "Cluster | None" = None,
) -> "tuple[list[Record], str]":
    """The records made, and how the run was stopped, if it was."""
    from ltbench.running.execute import execute
    from ltbench.running.observers import watched

    made: list[Record] = []
    with _interruptible() as interrupted, watched(plan, observers) as watch:
        try:
            for event in execute(plan, jobs, limits, lambda: bool(interrupted), cluster, watch):
                watch(event)
                if event.ended is not None:
                    made.append(event.ended)
                    if fail_fast and event.ended.status not in ("ok", "skipped"):
                        return made, "stopped"
        except KeyboardInterrupt:
            pass
    return made, "interrupted" if interrupted else ""


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Ctrl-C once lets the cells in hand be finished, twice stops now; tells how often it came."""
    came: list[int] = []

    def note(number: int, frame: object) -> None:
        came.append(number)
        if len(came) > 1:
            raise KeyboardInterrupt
        click.echo("finishing the cells in hand; Ctrl-C again stops now", err=True)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)


def _listed(cells: Sequence["Cell"]) -> str:
    """The seeds of cells, and on how many tables where there are several."""
    seeds = list(dict.fromkeys(cell.seed for cell in cells))
    tables = list(dict.fromkeys(cell.table for cell in cells))
    told = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    if len(tables) == 1:
        return told + (f" on {tables[0]}" if tables[0] else "")
    every = len(cells) == len(seeds) * len(tables)
    return f"{told} on {len(tables)} tables" + ("" if every else f", {len(cells)} cells in all")


def _tell_plan(plan: "Plan", seconds: float, as_json: bool) -> None:
    cells = [
        {"recipe": cell.recipe.text, "seed": cell.seed, "table": cell.table} for cell in plan.todo
    ]
    if as_json:
        print_json({"todo": cells, "done": len(plan.done), "seconds": round(seconds, 1)})
        return
    for text in dict.fromkeys(cell.recipe.text for cell in plan.todo):
        say(f"{text}: {_listed([cell for cell in plan.todo if cell.recipe.text == text])}")
    say(
        f"{len(cells)} cells would run, in about {duration(seconds)}; "
        f"{len(plan.done)} have a record already"
    )
