"""How the command line lays out what it prints."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ltbench.contract.track import Board


def print_columns(rows: Sequence[tuple[str, ...]], title: str | None) -> None:
    """Rows of texts, each column as wide as it must be."""
    if title is not None:
        click.echo(f"{title}:")
    if rows:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            padded = (text.ljust(width) for text, width in zip(row, widths, strict=True))
            click.echo("  ".join(padded).rstrip())


def print_json(value: Any) -> None:
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def print_entry(entry: dict[str, Any], indent: str = "") -> None:
    """A line for each key, and a block where it holds keys itself."""
    for key, value in entry.items():
        if isinstance(value, dict) and value and not indent:
            click.echo(f"{key}:")
            print_entry(value, indent="  ")
        else:
            text = _readable(value).replace("\n", "\n" + " " * 17)
            click.echo(f"{indent}{key + ':':{16 - len(indent)}} {text}")


def _readable(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_readable(inner)}" for key, inner in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_readable, value)) or "none"
    return "none" if value is None else str(value)


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def written(board: "Board", form: str) -> str:
    """A board as Markdown, CSV or JSON."""
    if form == "md":
        return board.markdown()
    if form == "csv":
        text: str = board.frame().to_csv(index=False, lineterminator="\n")
        return text
    import msgspec

    return msgspec.json.format(msgspec.json.encode(board.content), indent=1).decode() + "\n"
