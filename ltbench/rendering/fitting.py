"""Markdown as a terminal shows it: tables as columns that fit, stacked where they are too many.

A cell that does not fit beside the name of its row is cut in its middle.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from textwrap import wrap

BETWEEN = 2  # spaces between columns
BAR = re.compile(r"(?<!\\)\|")
ESCAPED = re.compile(r"\\([\\*_\[\]<>])")
TITLE = "recipe"  # the column that says whose a row is


def fitted(text: str, width: int) -> str:
    """A text in Markdown, no line of which is wider than `width`, if its words let it be."""
    blocks = groupby(text.splitlines(), key=_kind)
    told = (line for kind, lines in blocks for line in _block(kind, list(lines), width))
    shown = [ESCAPED.sub(r"\1", line) for line in told]
    return "\n".join(shown) + "\n"


def shortened(text: str, width: int) -> str:
    """A text of at most `width` letters, which has lost some in its middle."""
    if len(text) <= width:
        return text
    first = max(0, (width - 1) * 2 // 3)
    last = max(0, width - 1 - first)
    return f"{text[:first]}…{text[len(text) - last :]}"


def _kind(line: str) -> str:
    if line.startswith("|"):
        return "table"
    if line.startswith("- "):
        return "item"
    return "text" if line.strip() and not line.startswith("#") else "line"


def _block(kind: str, lines: list[str], width: int) -> Iterator[str]:
    if kind == "table":
        yield from _table([_cells(line) for line in lines], width)
    elif kind == "item":
        for line in lines:
            yield from _wrapped(line, width, "  ")
    elif kind == "text" and max(map(len, lines)) > width:
        yield from _wrapped(" ".join(lines), width)
    else:
        yield from lines


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return wrap(
        text,
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _cells(line: str) -> list[str]:
    inner = BAR.split(line.strip())[1:-1]
    plain = (ESCAPED.sub(r"\1", cell.strip().replace("`", "")) for cell in inner)
    return [cell.replace("\\|", "|") for cell in plain]


def _table(rows: list[list[str]], width: int) -> Iterator[str]:
    """The rows of a table, of which the first is the header and the second tells the alignment."""
    header, aligned, *body = rows
    right = [cell.endswith(":") for cell in aligned]
    columns = [list(column) for column in zip(header, *body, strict=True)]
    key = header.index(TITLE) if TITLE in header else 0
    columns[key] = [shortened(cell, max(8, width // 2)) for cell in columns[key]]
    room = width - max(map(len, columns[key])) - BETWEEN
    columns = [
        column if k == key else [shortened(cell, max(8, room)) for cell in column]
        for k, column in enumerate(columns)
    ]
    for k, stack in enumerate(_stacks(columns, key, width)):
        if k:
            yield ""
        yield from _lines([(columns[place], right[place]) for place in stack])


def _stacks(columns: Sequence[Sequence[str]], key: int, width: int) -> list[list[int]]:
    """The places of the columns of each table that they make, whose rows `key` tells apart."""
    wide = [max(map(len, column)) for column in columns]
    stacks = [list(range(key + 1))]
    for place in range(key + 1, len(columns)):
        used = sum(wide[one] + BETWEEN for one in stacks[-1])
        if used + wide[place] > width and stacks[-1] != [key]:
            stacks.append([key])
        stacks[-1].append(place)
    return stacks


def _lines(columns: Sequence[tuple[Sequence[str], bool]]) -> Iterator[str]:
    padded = []
    for cells, right in columns:
        wide = max(map(len, cells))
        told = [cell.rjust(wide) if right else cell.ljust(wide) for cell in cells]
        padded.append([told[0], "─" * wide, *told[1:]])
    for row in zip(*padded, strict=True):
        yield (" " * BETWEEN).join(row).rstrip()
