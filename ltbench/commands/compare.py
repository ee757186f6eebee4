"""ltbench compare: what a change moved, of two folders of results."""

import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from ltbench.commands.options import PLUGINS, RESULTS, registry_of, tell_rejected
from ltbench.commands.printing import Command, say
from ltbench.errors import LTBenchError
from ltbench.texts import line

GIT = "git:"


@click.command("compare", cls=Command)
@click.argument("old")
@click.argument("new")
@click.argument("protocols", nargs=-1, metavar="[PROTOCOL]...")
@click.option("--format", "form", type=click.Choice(["md", "json"]), default="md")
@click.option(
    "--fail",
    "bounds",
    multiple=True,
    metavar="MEASURE:BOUND",
    help="Exit code 1 if a row moves beyond, as balanced_accuracy:-0.5 or cost:+25%.",
)
@RESULTS
@PLUGINS
def command(
    old: str,
    new: str,
    protocols: Sequence[str],
    form: str,
    bounds: Sequence[str],
    results: Path,
    plugins: Sequence[str],
    strict: bool,
) -> None:
    """Tell what moved from the results OLD to NEW: rows that are new, gone or changed.

    Each is a folder, or git:REVISION for the results folder as it was there. What lies within an
    interval does not fail.
    """
    from ltbench.boards.comparing import bound, compare, markdown

    limits = [bound(text) for text in bounds]
    registry = registry_of(plugins, strict)
    with folder(old, results) as before, folder(new, results) as after:
        found, rejected = compare(registry, before, after, protocols, limits)
    if form == "json":
        import msgspec

        say(msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
    else:
        say(markdown(found), end="")
    tell_rejected(rejected)
    sys.exit(1 if any(one.failed for one in found) else 2 if rejected else 0)


@contextmanager
def folder(told: str, results: Path) -> Iterator[Path]:
    """The folder that is told of, or that of a revision, which is gone afterwards.

    Raises:
        LTBenchError: there is none.
    """
    if not told.startswith(GIT):
        path = Path(told).expanduser()
        if not path.is_dir():
            raise LTBenchError(f"{told} is no folder; a revision is told as git:REVISION")
        yield path
        return
    revision = told.removeprefix(GIT)
    if not revision or revision.startswith("-"):
        raise LTBenchError(f"{told}: expected git:REVISION")
    tree = f"{revision}:./{results.as_posix()}" if not results.is_absolute() else ""
    if not tree:
        raise LTBenchError(f"{told}: --results {results} must be below the folder you are in")
    try:
        done = subprocess.run(["git", "archive", "--format=tar", tree], capture_output=True)
    except OSError as error:
        raise LTBenchError(f"{told}: git cannot be run ({error.strerror})") from None
    if done.returncode != 0:
        reason = line(done.stderr.decode(errors="replace")) or f"exit code {done.returncode}"
        raise LTBenchError(f"{told}: git has no folder {results} there ({reason})")
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            archive.extractall(folder, filter="data")
        yield Path(folder)
