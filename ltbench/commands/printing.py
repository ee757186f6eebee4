"""How the command line prints: results alone go to standard output, all else to standard error."""

import atexit
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from ltbench.rendering.fitting import fitted, shortened
from ltbench.texts import readable

if TYPE_CHECKING:
    from ltbench.contract.track import Board

_results: Any = None  # where `say` prints while a command runs


class Command(click.Command):
    """A command whose results, by `say`, are all that standard output holds.

    What plugins and libraries print goes to standard error.
    """

    def invoke(self, context: click.Context) -> Any:
        with _results_apart():
            return super().invoke(context)


class Unbroken:
    """A stream to which nothing is written, without harm, once nobody reads it any more."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        with self._unread():
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._unread():
            self.stream.flush()

    @contextmanager
    def _unread(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:  # what waits in the stream would be tried once more at the end
            nowhere = os.open(os.devnull, os.O_WRONLY)
            with suppress(OSError, ValueError):
                os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def _results_apart() -> Iterator[None]:
    """Keeps standard output for `say`, also from what processes started within print."""
    global _results
    before = _results, sys.stdout, sys.stderr
    output: Any = sys.stdout
    errors = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    kept, owned = None, output is not None and output is sys.__stdout__
    if owned:
        with suppress(OSError):  # either is closed
            output.flush()
            kept = os.dup(1)
            os.dup2(2, 1)
            output = open(kept, "w", encoding=output.encoding, closefd=False)  # noqa: SIM115
    _results, sys.stderr = output and Unbroken(output), Unbroken(errors)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        if _results is not None:
            _results.flush()
        _results, sys.stdout, sys.stderr = before
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)
            atexit.register(_last_words)  # before those that were registered within


def _last_words() -> None:
    """What is printed as the process ends is no result either."""
    sys.stdout = sys.stderr
    with suppress(OSError):
        os.dup2(2, 1)


def say(text: object, end: str = "\n") -> None:
    """Prints a result; letters that the terminal lacks become question marks."""
    stream = _results or sys.stdout
    if stream is not None:
        encoding = stream.encoding or "utf-8"
        told = readable(f"{text}{end}").encode(encoding, "replace").decode(encoding)
        stream.write(told)
        stream.flush()


def terminal() -> int | None:
    """The width of the terminal that shows results; None where a file or a pipe has them."""
    stream = _results or sys.stdout
    try:
        return shutil.get_terminal_size().columns if stream.isatty() else None
    except (AttributeError, ValueError):  # there is no stream, or it is closed
        return None


def shown(text: str) -> str:
    """A board in Markdown as it is shown: on a terminal in columns that fit it."""
    width = terminal()
    return text if width is None else fitted(text, width)


def print_columns(rows: Sequence[tuple[str, ...]], title: str | None) -> None:
    """Rows of texts, each column as wide as it must be; on a terminal what does not fit is cut."""
    if title is not None:
        say(f"{title}:")
    width = terminal()
    if rows:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        if width is not None and len(widths) > 2 and sum(widths) + 2 * len(widths) > width:
            widths[1] = min(widths[1], 20)
            rows = [(row[0], shortened(row[1], 20), *row[2:]) for row in rows]
        for row in rows:
            padded = (text.ljust(wide) for text, wide in zip(row, widths, strict=True))
            told = "  ".join(padded).rstrip()
            say(told if width is None or len(told) <= width else f"{told[: width - 1]}…")


def print_json(value: Any) -> None:
    import msgspec

    def encodable(value: Any) -> Any:
        if isinstance(value, str):
            return readable(value)
        if isinstance(value, dict):
            return {encodable(key): encodable(inner) for key, inner in value.items()}
        return list(map(encodable, value)) if isinstance(value, list | tuple) else value

    told = encodable(msgspec.to_builtins(value, enc_hook=repr))
    say(msgspec.json.format(msgspec.json.encode(told), indent=2).decode())


def print_entry(entry: dict[str, Any], indent: str = "") -> None:
    """A line for each key, and a block where it holds keys itself."""
    for key, value in entry.items():
        if isinstance(value, dict) and value and not indent:
            say(f"{key}:")
            print_entry(value, indent="  ")
        else:
            text = _readable(value).replace("\n", "\n" + " " * 17)
            say(f"{indent}{key + ':':{16 - len(indent)}} {text}")


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
