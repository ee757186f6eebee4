"""ltbench submit: records that somebody else made, examined and taken onto the boards."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ltbench.commands.options import PLUGINS, RESULTS, Place, registry_of
from ltbench.commands.printing import Command, say
from ltbench.training.threads import begin_with_one


@click.command("submit", cls=Command)
@click.argument("folder", type=Place())
@click.option("--check", is_flag=True, help="Examine it, and take nothing.")
@RESULTS
@PLUGINS
def command(folder: Path, check: bool, results: Path, plugins: Sequence[str], strict: bool) -> None:
    """Examine the records of FOLDER, and take them onto the boards if nothing is amiss.

    FOLDER is one that `ltbench run --results FOLDER` wrote, with a submission.toml that states who
    submits them, paper, code, package, version and resources. Each refusal says what mends it; exit
    code 2 then.
    """
    begin_with_one()
    from ltbench.boards.submitting import examine, take

    found = examine(registry_of(plugins, strict), folder)
    for refusal in found.refusals:
        click.echo(refusal, err=True)
    if found.refusals:
        sys.exit(2)
    for (protocol, recipe), every in found.rows.items():
        say(f"{protocol}: {recipe}, {len(every)} records, nothing amiss")
    if found.submission is not None and found.submission.resources.beyond:
        told = ", ".join(found.submission.resources.beyond)
        say(f"with {told}, which protocols do not give: ranked apart")
    if not check:
        for place in take(folder, found, results):
            say(f"{place} written")
