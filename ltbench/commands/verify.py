"""ltbench verify: does the same come out when recorded cells are run again?"""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click

from ltbench.commands.options import DATA, JSON, PLUGINS, RESULTS, registry_of
from ltbench.commands.printing import Command, print_json, say
from ltbench.errors import LTBenchError
from ltbench.running.request import jobs_of, seeds_of, whole
from ltbench.training.threads import begin_with_one

SAMPLE = 5
OUTCOMES = {
    "same": "the same bits",
    "close": "the same within the tolerance",
    "different": "DIFFERENT",
}


@click.command("verify", cls=Command)
@click.argument("protocol")
@click.option("-m", "--method", "recipes", multiple=True, metavar="RECIPE")
@click.option("--seeds", metavar="N", help="How many, or which, as 10-14,101.")
@click.option("--sample", metavar="N", help=f"So many cells, drawn by chance; {SAMPLE} by default.")
@click.option("--all", "every", is_flag=True, help="All cells that have a record.")
@click.option("--by", default="another", show_default=True, help="Who verifies; ci is CI.")
@click.option("--jobs", type=int, metavar="N", help="Cells at a time.")
@DATA
@JSON
@RESULTS
@PLUGINS
def command(
    protocol: str,
    recipes: Sequence[str],
    seeds: str | None,
    sample: str | None,
    every: bool,
    by: str,
    jobs: int | None,
    data: Sequence[str],
    as_json: bool,
    results: Path,
    plugins: Sequence[str],
    strict: bool,
) -> None:
    """Run recorded cells of PROTOCOL again, and tell of each whether the same comes out.

    No record is changed. What came out is written beside the record, and the board tells of it:
    the same bits, as is to be expected on the same kind of processor with the same versions; the
    same within the tolerance (at most 1 % of predictions, and every measure within the standard
    deviation over seeds); or different. Exit code 1 if any cell is different.
    """
    begin_with_one()
    from ltbench.running.repeating import verify
    from ltbench.training.environment import usable_cores

    if every and sample is not None:
        raise LTBenchError("--all and --sample ask for different cells; choose one")
    if not (by.replace("-", "").isalnum() and by.isascii() and by == by.lower()):
        raise LTBenchError(f"--by {by!r}: expected lower-case letters, digits and hyphens")
    many = SAMPLE if sample is None else _count(sample)
    found = []
    told = verify(
        registry_of(plugins, strict, data),
        protocol,
        recipes,
        None if seeds is None else seeds_of(seeds, 0),
        None if every else many,
        by,
        results,
        jobs_of(jobs, usable_cores()),
    )
    unable = 0
    for one in told:
        if isinstance(one, str):
            unable += 1
            click.echo(one, err=True)
            continue
        found.append(one)
        if not as_json:
            place = f"{one.recipe}{f' on {one.table}' * bool(one.table)} seed {one.seed}"
            say(f"{place}: {OUTCOMES[one.outcome]}{_why(one.other, one.rows, one.what)}")
    count: Counter[str] = Counter(one.outcome for one in found)
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(found))
    else:
        say(", ".join(f"{count[key]} {key}" for key in OUTCOMES if count[key]) or "nothing was run")
    unlike = sorted({name for one in found for name in one.unlike})
    if unlike:
        click.echo(f"unlike what made the records: {', '.join(unlike)}", err=True)
    sys.exit(1 if count["different"] or unable else 0)


def _count(sample: str) -> int:
    return whole("--sample", int(sample) if sample.lstrip("+-").isdecimal() else sample, least=1)


def _why(other: int, rows: int, what: str) -> str:
    parts = [f"{other:,} of {rows:,} predictions differ" if other else "", what]
    told = "; ".join(filter(None, parts))
    return f" ({told})" if told else ""
