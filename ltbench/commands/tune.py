"""ltbench tune: settings of recipes, tried on a part of the training rows; the best are run."""

import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ltbench.commands.options import CELLS, DATA, JSON, MIXED, PLUGINS, RESULTS, TRACES, registry_of
from ltbench.commands.printing import Command, duration, print_json, say, shown, written
from ltbench.commands.run import cluster_of, observers_of, run_cells
from ltbench.errors import LTBenchError
from ltbench.running.request import jobs_of, limits_of, shard_of
from ltbench.training.threads import begin_with_one

if TYPE_CHECKING:
    from ltbench.running.plan import Plan
    from ltbench.running.tuning import Tuning


@click.command("tune", cls=Command)
@click.argument("protocol")
@click.option(
    "-m",
    "--method",
    "recipes",
    multiple=True,
    metavar="RECIPE",
    help="What to tune, as in 'ldam+drw'; what it sets itself stays. May be repeated. "
    "Without it, those of the protocol's recipes that have a search space.",
)
@click.option(
    "--trials",
    type=int,
    default=16,
    show_default=True,
    metavar="N",
    help="Settings of each recipe for each seed; the first is its default.",
)
@CELLS
@click.option("--shard", metavar="I/N", help="The I-th of N parts of the trials, to be merged.")
@click.option("--fresh", is_flag=True, help="Redo the trials and cells that have a record.")
@click.option("--dry-run", is_flag=True, help="Say what would be tried, and about how long.")
@MIXED
@DATA
@JSON
@RESULTS
@TRACES
@PLUGINS
def command(
    protocol: str,
    recipes: Sequence[str],
    trials: int,
    seeds: str | None,
    jobs: int | None,
    device: str,
    executor: str,
    address: str | None,
    gpu_share: float | None,
    shard: str | None,
    timeout: float | None,
    memory: float | None,
    no_sharing: bool,
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
    """Try settings of recipes on PROTOCOL, run the best, and print tuned rows beside default ones.

    Each setting is trained on the training rows less a part that is scored in place of the test
    rows, for each seed apart. Trials that have a record are kept, so the same command continues,
    and more --trials go on where fewer ended. Tuned plain training always comes along.
    """
    begin_with_one()  # counts only before torch is loaded
    jobs_of(jobs, 1)
    limits, part = limits_of(timeout, memory), shard_of((1, 1) if shard is None else shard)
    for name, given in (("address", address), ("gpu-share", gpu_share)):
        if given is not None and executor != "ray":
            raise LTBenchError(f"--{name} {given} is for --executor ray")
    from ltbench.boards import tuned
    from ltbench.commands.tables import write_table
    from ltbench.running import plan as plans
    from ltbench.running.tuning import tuning
    from ltbench.training.environment import usable_cores

    cluster = cluster_of(address, gpu_share, jobs) if executor == "ray" else None
    registry = registry_of(plugins, strict, data)
    study = tuning(registry, protocol, recipes, trials, seeds, results)
    asked = {
        "device": device,
        "fresh": fresh,
        "elsewhere": bool(cluster),
        "mixed": mixed,
        "shares": not no_sharing,
    }
    trying = study.trying(**asked, shard=part)
    at_once = usable_cores() // trying.protocol.compute.threads if device == "cpu" else 1
    jobs = jobs or max(1, at_once)
    for remark in (*study.remarks, *trying.remarks):
        click.echo(remark, err=True)
    if dry_run:
        _tell_plan(study, trying, plans.estimate(trying, jobs), as_json)
        return
    study.write()
    observers = observers_of(registry, observe, log_json)
    made, stopped = run_cells(trying, jobs, limits, False, observers, cluster)
    _stop_if(stopped, trying, len(made))
    if part[1] > 1:
        _tell_shard(study, trying, part)
        return
    skipped = [record for record in made if record.status == "skipped"]
    testing = study.testing(**asked)
    observers = observers_of(registry, observe, log_json)  # the first ones ended with the trials
    made, stopped = run_cells(testing, jobs, limits, False, observers, cluster)
    _stop_if(stopped, testing, len(made))
    board = tuned.board(tuned.read(registry, protocol, results, mixed))
    say(written(board, "json") if as_json else shown(written(board, "md")), end="")
    if any((results / study.protocol.name / "records").glob("*/*.json")):
        _, path = write_table(registry, protocol, results, mixed)
        click.echo(f"{path} written", err=True)
    count = Counter(record.status for record in made)
    if recipes and skipped:
        sys.exit(2)
    sys.exit(0 if count.keys() <= {"ok"} else 1)


def _stop_if(stopped: str, plan: "Plan", made: int) -> None:
    if stopped:
        command = shlex.join(["ltbench", *sys.argv[1:]])
        left = len(plan.todo) - made
        click.echo(f"{stopped} with {left} cells left; to continue: {command}", err=True)
        sys.exit(130)


def _tell_shard(study: "Tuning", plan: "Plan", part: tuple[int, int]) -> None:
    number, parts = part
    say(
        f"{study.protocol.name}, shard {number}/{parts} of its trials is done. Settings are chosen "
        f"of all {parts}:\n  ltbench merge {shlex.quote(str(study.results))} THE_OTHERS --into "
        f"leaderboards\n  ltbench tune {study.protocol.name} with the same -m, --trials and --seeds"
    )


def _tell_plan(study: "Tuning", plan: "Plan", seconds: float, as_json: bool) -> None:
    cells = [{"recipe": cell.recipe.text, "seed": cell.seed} for cell in plan.todo]
    if as_json:
        print_json({"todo": cells, "done": len(plan.done), "seconds": round(seconds, 1)})
        return
    for one in study.studies:
        told = ", ".join(f"{name} in {space}" for name, space in one.space.items())
        say(f"{one.recipe}: {max(map(len, one.drawn.values()))} settings a seed of {told}")
    say(
        f"{len(cells)} trials would run, in about {duration(seconds)}, and then what they choose; "
        f"{len(plan.done)} have a record already"
    )
