"""ltbench run: the cells of a protocol, then its leaderboard."""

import os
import shlex
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ltbench.commands.options import DATA, JSON, MIXED, PLUGINS, RESULTS, registry_of, tell_rejected
from ltbench.commands.printing import duration, print_json
from ltbench.errors import LTBenchError

if TYPE_CHECKING:
    from ltbench.registry.registry import Registry
    from ltbench.results.records import Record, Rejected
    from ltbench.running.cluster import Cluster
    from ltbench.running.observers import Observer
    from ltbench.running.plan import Plan
    from ltbench.running.processes import Limits


@click.command("run")
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
@click.option("--seeds", type=int, metavar="N", help="Seeds 0 to N-1, not the protocol's number.")
@click.option("--jobs", type=int, metavar="N", help="Cells at a time; as many as cores by default.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ...")
@click.option("--executor", type=click.Choice(["local", "ray"]), default="local", show_default=True)
@click.option("--address", help="The Ray cluster, as ray://HOST:10001; else one started here.")
@click.option("--gpu-share", type=float, metavar="PART", help="Of a GPU, for each cell on Ray.")
@click.option("--shard", metavar="I/N", help="The I-th of N parts of the cells, to be merged.")
@click.option("--timeout", type=float, metavar="SECONDS", help="Kill a cell that takes longer.")
@click.option("--memory", type=float, metavar="MB", help="What a cell may take of memory.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first cell that fails.")
@click.option("--fresh", is_flag=True, help="Redo the cells that have a record.")
@click.option("--dry-run", is_flag=True, help="Say what would run and about how long it takes.")
@click.option("--log-json", metavar="FILE", help="Append events to a file, - for standard error.")
@click.option(
    "--observe",
    multiple=True,
    metavar="NAME[=ARGUMENT]",
    help="Who is told of the run, as tensorboard=FOLDER or mlflow=FOLDER; may be repeated.",
)
@MIXED
@DATA
@JSON
@RESULTS
@PLUGINS
def command(
    protocol: str,
    recipes: Sequence[str],
    seeds: int | None,
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
    """Run PROTOCOL, then print its leaderboard.

    PROTOCOL is a name, or the path of a TOML file. Cells that have a record are kept, so the
    same command continues a run that was stopped.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # counts only before torch is loaded
    if jobs is not None and jobs < 1:
        raise LTBenchError(f"{jobs} jobs can run nothing; at least 1 is needed")
    for name, limit in (("timeout", timeout), ("memory", memory)):
        if limit is not None and not 0 < limit < float("inf"):
            raise LTBenchError(f"a {name} of {limit:g} is no limit; it must be above 0")
    for name, given in (("address", address), ("gpu-share", gpu_share)):
        if given is not None and executor != "ray":
            raise LTBenchError(f"--{name} {given} is for --executor ray")
    from ltbench.running import plan as plans
    from ltbench.running.processes import Limits
    from ltbench.training.environment import usable_cores

    cluster = _cluster(address, gpu_share, jobs) if executor == "ray" else None
    registry = registry_of(plugins, strict, data)
    part = _shard(shard) if shard is not None else (1, 1)
    plan = plans.plan(
        registry, protocol, recipes, seeds, results, device, fresh, part, bool(cluster), mixed
    )
    jobs = jobs or max(1, usable_cores() // plan.protocol.compute.threads)
    for recipe in {cell.recipe.text: cell.recipe for cell in plan.cells}.values():
        for warning in recipe.warnings:
            click.echo(f"{recipe.text}: {warning}", err=True)
    if dry_run:
        _tell_plan(plan, plans.estimate(plan, jobs), as_json)
        return
    observers = _observers(registry, observe, log_json)
    made, stopped = _run(plan, jobs, Limits(timeout, memory), fail_fast, observers, cluster)
    rejected: list[Rejected] = []
    if made or plan.done:
        rejected = _show_table(registry, protocol, results, plan, made, mixed)
    if stopped:
        left = len(plan.todo) - len(made)
        command = shlex.join(["ltbench", *sys.argv[1:]])
        click.echo(f"{stopped} with {left} cells left; to continue: {command}", err=True)
        sys.exit(130 if stopped == "interrupted" else 1)
    count = Counter(record.status for record in made)
    if rejected or (recipes and count["skipped"]):
        sys.exit(2)
    sys.exit(0 if count.keys() <= {"ok", "skipped"} else 1)


def _show_table(
    registry: "Registry",
    protocol: str,
    results: Path,
    plan: "Plan",
    made: "list[Record]",
    mixed: bool,
) -> "list[Rejected]":
    path = results / plan.protocol.name / "table.md"
    rejected = _write_table(registry, protocol, results, path, mixed)
    click.echo(path.read_text(encoding="utf-8"), nl=False)
    count = Counter(record.status for record in made)
    told = ", ".join(f"{n} {status}" for status, n in count.items()) or "nothing left to run"
    click.echo(f"{path} written; {len(plan.done)} cells had a record, new: {told}", err=True)
    return rejected


def _shard(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal()):
        raise LTBenchError(f"shard {text!r} is none; the first of two is 1/2")
    return int(part), int(parts)


def _cluster(address: str | None, gpu_share: float | None, jobs: int | None) -> "Cluster":
    from ltbench.running.cluster import Cluster

    return Cluster(address, 1.0 if gpu_share is None else gpu_share, jobs)


def _observers(
    registry: "Registry", observe: Sequence[str], log_json: str | None
) -> "dict[str, Observer]":
    """Those asked for, and what shows the run unless standard error is for machines."""
    from ltbench.commands.progress import view
    from ltbench.running.observers import chosen

    shown = {"progress": view()} if log_json != "-" else {}
    logged = [f"json={log_json}"] if log_json is not None else []
    return {**shown, **chosen(registry, [*logged, *observe])}


def _run(
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


def _tell_plan(plan: "Plan", seconds: float, as_json: bool) -> None:
    cells = [{"recipe": cell.recipe.text, "seed": cell.seed} for cell in plan.todo]
    if as_json:
        print_json({"todo": cells, "done": len(plan.done), "seconds": round(seconds, 1)})
        return
    for text in dict.fromkeys(cell["recipe"] for cell in cells):
        seeds = [str(cell["seed"]) for cell in cells if cell["recipe"] == text]
        click.echo(f"{text}: seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}")
    click.echo(
        f"{len(cells)} cells would run, in about {duration(seconds)}; "
        f"{len(plan.done)} have a record already"
    )


def _write_table(
    registry: "Registry", protocol: str, results: Path, path: Path, mixed: bool
) -> "list[Rejected]":
    from ltbench.boards.reading import read
    from ltbench.results import records

    found = read(registry, protocol, results, mixed)
    records.write_text(path, found.board.markdown())
    tell_rejected(found.rejected)
    return found.rejected
