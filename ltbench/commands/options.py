"""What several commands take, and the registry that it asks for."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ltbench.errors import LTBenchError
from ltbench.results.folder import results_folder
from ltbench.texts import TRACEBACK

if TYPE_CHECKING:
    from ltbench.registry.registry import Registry
    from ltbench.results.records import Rejected


class Place(click.Path):
    """A path in which ~ is the user's home; a shell leaves that to us in --results=~/there."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, *given: Any) -> Any:
        return super().convert(os.path.expanduser(value), *given)


def _ask_for_traces(context: click.Context, option: click.Parameter, asked: bool) -> None:
    """Asks for tracebacks, of the processes of cells as well, until the command is over."""
    before = os.environ.get(TRACEBACK)
    if not asked or context.resilient_parsing:
        return
    os.environ[TRACEBACK] = "1"

    def put_back() -> None:
        if before is None:
            os.environ.pop(TRACEBACK, None)
        else:
            os.environ[TRACEBACK] = before

    context.call_on_close(put_back)


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
TRACES = click.option(
    "--traceback",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_ask_for_traces,
    help="Show the traceback of what a plugin raises; so does LTBENCH_TRACEBACK=1.",
)
RESULTS = click.option(
    "--results",
    type=Place(),
    default=results_folder,
    show_default="LTBENCH_RESULTS, or leaderboards",
    metavar="FOLDER",
    help="Where records and tables stand.",
)
MIXED = click.option(
    "--mixed", is_flag=True, help="Put records of several codes or devices together, and tell so."
)
DATA = click.option(
    "--data",
    multiple=True,
    metavar="NAME=PATH",
    help="A table, an image folder, list files, parquet files or .npz of your own, as a data set.",
)
CELLS = options(
    click.option(
        "--seeds",
        metavar="N",
        help="Seeds 0 to N-1, or which, as 10-14,101; not the protocol's number.",
    ),
    click.option(
        "--jobs", type=int, metavar="N", help="Cells at a time; one a core, or one on a GPU."
    ),
    click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ..."),
    click.option(
        "--executor", type=click.Choice(["local", "ray"]), default="local", show_default=True
    ),
    click.option("--address", help="The Ray cluster, as ray://HOST:10001; else one started here."),
    click.option("--gpu-share", type=float, metavar="PART", help="Of a GPU, for each cell on Ray."),
    click.option("--timeout", type=float, metavar="SECONDS", help="Kill a cell that takes longer."),
    click.option("--memory", type=float, metavar="MB", help="What a cell may take of memory."),
    click.option(
        "--no-sharing", is_flag=True, help="Train what several cells begin with in each of them."
    ),
    click.option(
        "--log-json", metavar="FILE", help="Append events to a file, - for standard error."
    ),
    click.option(
        "--observe",
        multiple=True,
        metavar="NAME[=ARGUMENT]",
        help="Who is told of the run, as tensorboard=FOLDER or mlflow=FOLDER; may be repeated.",
    ),
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def registry_of(plugins: Sequence[str], strict: bool, data: Sequence[str] = ()) -> "Registry":
    from ltbench.registry.registry import Registry

    for pair in data:
        if not all(pair.partition("=")):
            raise LTBenchError(f"--data {pair!r}: expected NAME=PATH")
    registry = Registry(plugins, strict, dict(pair.split("=", 1) for pair in data))
    if strict:
        registry.load_all()
    return registry


def tell_rejected(rejected: "Sequence[Rejected]") -> None:
    for one in rejected:
        click.echo(str(one), err=True)


def with_records(results: Path, further: Sequence[str] = ()) -> list[str]:
    """The protocols that have records, and `further` ones.

    Raises:
        LTBenchError: none has.
    """
    names = sorted({*(folder.parent.name for folder in results.glob("*/records")), *further})
    if not names:
        raise LTBenchError(f"{results} holds no records; ltbench run PROTOCOL makes some")
    return names
