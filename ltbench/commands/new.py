"""ltbench new: files to begin from, which run and pass the checks as they come."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ltbench.commands.options import PLUGINS, Place, options, registry_of
from ltbench.commands.printing import Command, say
from ltbench.errors import LTBenchError

if TYPE_CHECKING:
    from ltbench.scaffolding.kinds import Plan

WHERE = options(
    click.option("--into", type=Place(), metavar="FOLDER", help="Where the files go; else here."),
    click.option("--package", is_flag=True, help="A whole repository, in the folder ltbench-NAME."),
    PLUGINS,
)
TRACK = click.option("--track", metavar="TRACK", help="The kind of problem; ltbench list tracks.")


@click.group("new")
def command() -> None:
    """Begin a method, a protocol, a data set or a track: files that run as they come."""


@command.command("method", cls=Command)
@click.argument("name")
@TRACK
@WHERE
def method(name: str, track: str | None, **where: Any) -> None:
    """Begin a method NAME: its class with the one hook to fill in, and its test."""
    from ltbench.scaffolding import kinds

    _begin(lambda registry, packaged: kinds.method(registry, name, track, packaged), **where)


@command.command("protocol", cls=Command)
@click.argument("name")
@TRACK
@WHERE
def protocol(name: str, track: str | None, **where: Any) -> None:
    """Begin a protocol NAME of a track: a TOML file with comments, and its test."""
    from ltbench.scaffolding import kinds

    _begin(lambda registry, packaged: kinds.protocol(registry, name, track, packaged), **where)


@command.command("dataset", cls=Command)
@click.argument("name")
@WHERE
def dataset(name: str, **where: Any) -> None:
    """Begin a data set NAME that code reads; for files, see ltbench init."""
    from ltbench.scaffolding import kinds

    _begin(lambda registry, packaged: kinds.dataset(registry, name, packaged), **where)


@command.command("track", cls=Command)
@click.argument("name")
@WHERE
def track(name: str, **where: Any) -> None:
    """Begin a track NAME: what is run and what is measured, with a protocol and a test."""
    from ltbench.scaffolding import kinds

    _begin(lambda registry, packaged: kinds.track(registry, name, packaged), **where)


def _begin(
    planned: "Callable[[Any, bool], Plan]",
    into: Path | None,
    package: bool,
    plugins: Sequence[str],
    strict: bool,
) -> None:
    from ltbench.scaffolding.kinds import begin, begin_package

    if package and into is not None:
        raise LTBenchError(f"--package makes a folder of its own; leave out --into {into}")
    registry = registry_of(plugins, strict)
    plan = planned(registry, package)
    begun = begin_package(plan, registry) if package else begin(plan, registry, into or Path())
    for file in begun.files:
        say(file)
    click.echo("\nThey run as they are; next:", err=True)
    for one in begun.commands:
        click.echo(f"  {one}", err=True)
