"""What several commands take, and the registry that it asks for."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ltbench.errors import LTBenchError

if TYPE_CHECKING:
    from ltbench.registry.registry import Registry
    from ltbench.results.records import Rejected


class Place(click.Path):
    """A path in which ~ is the user's home; a shell leaves that to us in --results=~/there."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, *given: Any) -> Any:
        return super().convert(os.path.expanduser(value), *given)


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
    type=Place(),
    default=Path("leaderboards"),
    show_default=True,
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


def with_records(results: Path) -> list[str]:
    """The protocols that have records.

    Raises:
        LTBenchError: none has.
    """
    names = sorted(folder.parent.name for folder in results.glob("*/records"))
    if not names:
        raise LTBenchError(f"{results} holds no records; ltbench run PROTOCOL makes some")
    return names
