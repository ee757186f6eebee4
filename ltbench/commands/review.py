"""ltbench review: what a change is worth, as a pull request shows it."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from ltbench.commands.compare import GIT, folder
from ltbench.commands.options import DATA, PLUGINS, RESULTS, Place, registry_of
from ltbench.commands.printing import Command, say
from ltbench.errors import LTBenchError
from ltbench.running.request import jobs_of, whole
from ltbench.training.threads import begin_with_one

REPORT = "review.md"


@click.command("review", cls=Command)
@click.argument("base")
@click.argument("protocols", nargs=-1, required=True, metavar="PROTOCOL...")
@click.option("--into", type=Place(), required=True, metavar="FOLDER", help="Of report and rows.")
@click.option("--sample", type=int, default=3, show_default=True, help="Cells to run again.")
@click.option(
    "--fail",
    "bounds",
    multiple=True,
    metavar="MEASURE:BOUND",
    help="What no row may move beyond, as for compare.",
)
@click.option("--jobs", type=int, metavar="N", help="Cells at a time.")
@DATA
@RESULTS
@PLUGINS
def command(
    base: str,
    protocols: Sequence[str],
    into: Path,
    sample: int,
    bounds: Sequence[str],
    jobs: int | None,
    data: Sequence[str],
    results: Path,
    plugins: Sequence[str],
    strict: bool,
) -> None:
    """Tell what the working tree changes since it parted from the revision BASE.

    Methods whose code differs are checked, also with false labels, and their rows run on the boards
    of PROTOCOLs; protocols that differ are planned; what moved is told beside the records at BASE;
    and a few cells are run again. The report, in Markdown, is printed and written to review.md in
    FOLDER, the records to results beside it. Exit code 1 if anything fails.
    """
    begin_with_one()
    from ltbench.boards.comparing import bound
    from ltbench.boards.reviewing import Reviewer
    from ltbench.results.records import write_text
    from ltbench.running.touched import change_since
    from ltbench.training.environment import usable_cores

    limits = [bound(text) for text in bounds]
    whole("--sample", sample, least=0)
    jobs = jobs_of(jobs, usable_cores())
    change = change_since(base)
    _cleared(into)
    registry = registry_of(plugins, strict, data)
    reviewer = Reviewer(
        registry,
        protocols,
        results,
        into / "results",
        limits,
        sample,
        jobs,
        lambda text: click.echo(text, err=True),
    )
    with _before(change.base, results) as before:
        found = reviewer.review(change, before)
    write_text(into / REPORT, found.markdown())
    say(found.markdown(), end="")
    sys.exit(1 if found.fails else 0)


@contextmanager
def _before(revision: str, results: Path) -> Iterator[Path | None]:
    """The results of a revision; None where it has none."""
    with ExitStack() as held:
        try:
            place = held.enter_context(folder(f"{GIT}{revision}", results))
        except LTBenchError:
            place = None
        yield place


def _cleared(into: Path) -> None:
    """Removes an earlier review; what is none is left alone.

    Raises:
        LTBenchError: the folder holds something else.
    """
    if not into.exists():
        return
    if not into.is_dir() or {one.name for one in into.iterdir()} - {REPORT, "results"}:
        raise LTBenchError(f"--into {into} holds something that is no earlier review")
    shutil.rmtree(into)
