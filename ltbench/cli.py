"""The command line: reads arguments, calls, prints; whatever is heavy is imported when used."""

import os
import shlex
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ltbench.errors import LTBenchError
from ltbench.printing import duration, print_columns, print_entry, print_json

if TYPE_CHECKING:
    from ltbench.execute import Plan
    from ltbench.observers import Observer
    from ltbench.on_ray import Cluster
    from ltbench.processes import Limits
    from ltbench.records import Record, Rejected
    from ltbench.registry import Registry

KINDS = ("methods", "protocols", "datasets", "observers")


class Refused(click.ClickException):
    """The user's words were wrong; nothing was done."""

    exit_code = 2


class Commands(click.Group):
    """Shows what a user caused in a line or two, never as a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except LTBenchError as error:
            raise Refused(str(error)) from error


SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(cls=Commands, context_settings=SETTINGS)
@click.version_option(package_name="ltbench")
def main() -> None:
    """Compare methods for class-imbalanced and long-tailed learning on fixed protocols."""


def options(*chosen: Callable[..., Any]) -> Callable[..., Any]:
    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(chosen):
            command = option(command)
        return command

    return add


PLUGINS = options(
    click.option(
        "--plugin",
        "plugins",
        multiple=True,
        metavar="FILE",
        help="A Python file with methods of your own; may be repeated.",
    ),
    click.option("--strict", is_flag=True, help="A plugin that must be left out is an error."),
)
RESULTS = click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=Path("leaderboards"),
    show_default=True,
    metavar="FOLDER",
    help="Where records and tables stand.",
)
DATA = click.option(
    "--data",
    multiple=True,
    metavar="NAME=PATH",
    help="An image folder, list files, parquet files or .npz of your own, as a data set.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@main.command()
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
@DATA
@JSON
@RESULTS
@PLUGINS
def run(
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
    from ltbench import execute, health
    from ltbench.processes import Limits

    cluster = _cluster(address, gpu_share, jobs) if executor == "ray" else None
    registry = _registry(plugins, strict, data)
    part = _shard(shard) if shard is not None else (1, 1)
    plan = execute.plan(
        registry, protocol, recipes, seeds, results, device, fresh, part, bool(cluster)
    )
    jobs = jobs or max(1, health.usable_cores() // plan.protocol.compute.threads)
    for recipe in {cell.recipe.text: cell.recipe for cell in plan.cells}.values():
        for warning in recipe.warnings:
            click.echo(f"{recipe.text}: {warning}", err=True)
    if dry_run:
        _tell_plan(plan, execute.estimate(plan, jobs), as_json)
        return
    observers = _observers(registry, observe, log_json)
    made, stopped = _run(plan, jobs, Limits(timeout, memory), fail_fast, observers, cluster)
    rejected: list[Rejected] = []
    if made or plan.done:
        rejected = _show_table(registry, protocol, results, plan, made)
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
    registry: "Registry", protocol: str, results: Path, plan: "Plan", made: "list[Record]"
) -> "list[Rejected]":
    path = results / plan.protocol.name / "table.md"
    rejected = _write_table(registry, protocol, results, path)
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
    from ltbench.on_ray import Cluster

    return Cluster(address, 1.0 if gpu_share is None else gpu_share, jobs)


def _observers(
    registry: "Registry", observe: Sequence[str], log_json: str | None
) -> "dict[str, Observer]":
    """Those asked for, and what shows the run unless standard error is for machines."""
    from ltbench.observers import chosen
    from ltbench.progress import view

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
    from ltbench.execute import execute
    from ltbench.observers import watched

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


@main.command()
@click.argument("protocol")
@click.option("--format", "form", type=click.Choice(["md", "csv", "json"]), default="md")
@click.option(
    "--test-agnostic",
    is_flag=True,
    help="Accuracy on test splits with a tail of their own, from stored predictions.",
)
@click.option("--stability", is_flag=True, help="What is lost from factor 10 to factor 200.")
@RESULTS
@PLUGINS
def leaderboard(
    protocol: str,
    form: str,
    test_agnostic: bool,
    stability: bool,
    results: Path,
    plugins: Sequence[str],
    strict: bool,
) -> None:
    """Print the leaderboard of PROTOCOL from its records."""
    registry = _registry(plugins, strict)
    if test_agnostic and stability:
        raise LTBenchError("--test-agnostic and --stability are tables of their own; choose one")
    table = _agnostic if test_agnostic else _stability if stability else _ranked
    told, rejected = table(registry, protocol, results, form)
    click.echo(told, nl=False)
    _tell_rejected(rejected)
    if rejected:
        sys.exit(2)


def _ranked(
    registry: "Registry", protocol: str, results: Path, form: str
) -> "tuple[str, list[Rejected]]":
    from ltbench import leaderboards, render

    read = leaderboards.read(registry, protocol, results)
    forms = {"md": render.markdown, "csv": render.csv, "json": render.json}
    return forms[form](read.leaderboard), read.rejected


def _stability(
    registry: "Registry", protocol: str, results: Path, form: str
) -> "tuple[str, list[Rejected]]":
    from ltbench import render, stability

    table, rejected = stability.evaluate(registry, protocol, results)
    if form == "csv":
        return stability.frame(table).to_csv(index=False, lineterminator="\n"), rejected
    return render.stability(table) if form == "md" else render.json(table), rejected


def _agnostic(
    registry: "Registry", protocol: str, results: Path, form: str
) -> "tuple[str, list[Rejected]]":
    from ltbench import agnostic, render

    table, rejected = agnostic.evaluate(registry.protocol(protocol), results)
    if form == "csv":
        return agnostic.frame(table).to_csv(index=False, lineterminator="\n"), rejected
    return render.agnostic(table) if form == "md" else render.json(table), rejected


@main.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--into", required=True, type=click.Path(path_type=Path), metavar="FOLDER")
def merge(folders: Sequence[Path], into: Path) -> None:
    """Bring the records of several results FOLDERS together, as of shards.

    A cell in two of them must have one outcome; else nothing is merged.
    """
    from ltbench.merging import merge

    done = merge(folders, into)
    click.echo(f"{into}: {done.taken} records taken, {done.known} were there", err=True)


@main.command()
@click.argument("record", type=click.Path(path_type=Path))
@DATA
@PLUGINS
def show(record: Path, data: Sequence[str], plugins: Sequence[str], strict: bool) -> None:
    """Draw the images that the cell of a RECORD file distilled, below real ones."""
    from ltbench.render.sheet import show

    click.echo(show(_registry(plugins, strict, data), record))


@main.command()
@click.argument("protocol")
@click.option("-m", "--method", "recipes", multiple=True, metavar="RECIPE")
@click.option("--seeds", type=int, metavar="N")
@DATA
@JSON
@RESULTS
@PLUGINS
def status(
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
    from ltbench import execute, health

    plan = execute.plan(_registry(plugins, strict, data), protocol, recipes, seeds, results)
    jobs = max(1, health.usable_cores() // plan.protocol.compute.threads)
    standing = health.standing(plan, jobs)
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


@main.command()
@JSON
@RESULTS
@PLUGINS
def doctor(as_json: bool, results: Path, plugins: Sequence[str], strict: bool) -> None:
    """Examine the machine, the data folder and the plugins."""
    from ltbench import health

    found = health.examined(_registry(plugins, strict), results)
    if as_json:
        print_json(dict(found))
        return
    for part, told in found:
        print_entry({part: told})


@main.command("list")
@click.argument("kind", type=click.Choice(KINDS), required=False)
@JSON
@PLUGINS
def list_(kind: str | None, as_json: bool, plugins: Sequence[str], strict: bool) -> None:
    """List methods, protocols, data sets and observers, or one KIND of them."""
    registry = _registry(plugins, strict)
    if as_json:
        from ltbench import listing

        found = {k: listing.entries(registry, k) for k in KINDS if kind in (k, None)}
        print_json(found[kind] if kind else found)
    else:
        for k in KINDS:
            if kind in (k, None):
                print_columns(_lines(registry, k), None if kind else k)


@main.command()
@click.argument("name")
@DATA
@JSON
@PLUGINS
def info(
    name: str, data: Sequence[str], as_json: bool, plugins: Sequence[str], strict: bool
) -> None:
    """Tell all about one method, protocol, data set or observer."""
    from ltbench import listing

    entry = listing.entry(_registry(plugins, strict, data), name)
    if as_json:
        print_json(entry)
        return
    entry.pop("summary", None)  # the first line of the description
    print_entry(entry)


@main.command("plugins")
@JSON
@PLUGINS
def plugins_(as_json: bool, plugins: Sequence[str], strict: bool) -> None:
    """Show which plugins are used, which are left out, and why."""
    from ltbench import listing

    entries = listing.plugins(_registry(plugins, strict))
    if as_json:
        print_json(entries)
        return
    for entry in entries:
        provided = ", ".join(entry["provides"]) or "nothing"
        click.echo(f"{entry['plugin']} ({entry['package']} {entry['version']}): {provided}")
        for reason in entry["left_out"]:
            click.echo(f"  left out: {reason}")


@main.command()
@click.argument("recipes", nargs=-1, metavar="[RECIPE]...")
@JSON
@PLUGINS
def check(recipes: Sequence[str], as_json: bool, plugins: Sequence[str], strict: bool) -> None:
    """Put methods through the shared checks; all methods by default."""
    from ltbench.testing import check_method

    registry = _registry(plugins, strict)
    reports = [check_method(registry.recipe(text)) for text in recipes or registry.methods()]
    if as_json:
        print_json([report.as_dict() for report in reports])
    else:
        for report in reports:
            click.echo(str(report))
    sys.exit(0 if all(report.passed for report in reports) else 1)


def _registry(plugins: Sequence[str], strict: bool, data: Sequence[str] = ()) -> "Registry":
    from ltbench.registry import Registry

    for pair in data:
        if not all(pair.partition("=")):
            raise LTBenchError(f"--data {pair!r}: expected NAME=PATH")
    registry = Registry(plugins, strict, dict(pair.split("=", 1) for pair in data))
    if strict:
        registry.load_all()
    return registry


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
    registry: "Registry", protocol: str, results: Path, path: Path
) -> "list[Rejected]":
    from ltbench import leaderboards, records, render

    read = leaderboards.read(registry, protocol, results)
    records.write_text(path, render.markdown(read.leaderboard))
    _tell_rejected(read.rejected)
    return read.rejected


def _tell_rejected(rejected: "Sequence[Rejected]") -> None:
    for one in rejected:
        click.echo(str(one), err=True)


def _lines(registry: "Registry", kind: str) -> Sequence[tuple[str, ...]]:
    """The columns of a plain listing, found without importing torch."""
    if kind == "methods":
        return [(o.name, o.reference, o.summary) for o, _ in registry.outlines()]
    if kind == "protocols":
        return [(name, f"version {version}", told) for name, version, told in registry.summaries()]
    if kind == "observers":
        return registry.observer_summaries()
    return [(name,) for name in [*sorted(registry.datasets()), *registry.tables()]]
