"""Delimited text, as CSV: what separates its fields, and whether it names its columns."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from textwrap import shorten
from typing import NamedTuple

from ltbench.datasets.amounts import amount
from ltbench.errors import LTBenchError

SEPARATORS = ("\t", ";", "|", ",")
"""In the order in which they are taken where several fit: commas are in words and numbers too."""

BLANK = " "  # separates where the first line has none of the others
UNNAMED = "Unnamed: {}"  # what pandas calls the column at a place that has no name

MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
"""The byte order marks that tell an encoding."""


class Grid(NamedTuple):
    """Words: a field for each of `names` in every one of `rows`, and what separates them."""

    names: list[str]
    rows: list[list[str]]
    separator: str


class Lines(NamedTuple):
    """A text, and how many lines stand above it."""

    text: str
    above: int = 0


def decoded(data: bytes, encoding: str | None = None) -> str:
    """Bytes as text: in the encoding that is given or that a byte order mark tells, or in UTF-8.

    Raises:
        LTBenchError: they are no text in it.
    """
    told = encoding or next((name for mark, name in MARKS if data.startswith(mark)), None)
    if told is None and b"\0" in data:
        raise LTBenchError("it is no text, or in an encoding that its first bytes do not tell")
    encoding = told or "utf-8"
    try:
        text = data.decode(encoding)
    except LookupError:
        raise LTBenchError(f"{encoding!r} is no encoding that Python knows") from None
    except UnicodeError as error:
        line = data.count(b"\n", 0, getattr(error, "start", 0)) + 1
        raise LTBenchError(
            f"line {line} is not in {encoding}; save it in UTF-8, or say its encoding in the "
            'protocol, as encoding = "cp1252"'
        ) from None
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def grid(text: str, separator: str | None = None, header: bool | None = None) -> Grid:
    """The fields of a text, whose separator and header are found out where they are not given.

    A separator fits if every line has as many fields. Lines of comment above the header are passed
    over, unless the last of them is the header; without one columns are called "column 1" and so
    on. A field that begins every line and has no name is that of the row.

    Raises:
        LTBenchError: lines differ in their number of fields, a quote is left open, or it cannot be
            told which field lacks a name.
    """
    told, comment, body = _begun(text)
    separator = separator or told or _separator(body)
    _refuse_uneven(body, separator)
    rows = [row for _, row in _fields(body, separator)]
    names = _named(comment, separator)
    if len(names) != len(rows[-1]):  # it is a comment, or none
        if header if header is not None else _is_header(rows[0], rows[1:]):
            names, rows = rows[0], rows[1:]
        else:
            names = [f"column {k}" for k in range(1, len(rows[0]) + 1)]
    if not rows:
        raise LTBenchError("it has names of columns, but no rows")
    if names in rows:
        raise LTBenchError(f"row {rows.index(names)} repeats the names of columns; leave it out")
    names, rows = _paired([name.strip() for name in names], rows)
    return Grid([name or UNNAMED.format(k) for k, name in enumerate(names)], rows, separator)


def numbered(words: Sequence[str]) -> bool:
    """Whether words count from 0 or 1 on."""
    return any(all(map(str.__eq__, words, map(str, range(k, k + len(words))))) for k in (0, 1))


def _begun(text: str) -> tuple[str | None, str, Lines]:
    """The separator that a line sep=; on top tells, the last line of comment, and what follows."""
    told = re.match(r"sep=(.) *\n", text)
    start = told.end() if told else 0
    above = re.compile(r"(?:\s*#.*(?:\n|$))*\s*^", re.MULTILINE).match(text, start)
    assert above is not None
    comments = [line.strip(" ") for line in above[0].splitlines() if line.strip()]
    comment = comments[-1].lstrip("#").strip(" ") if comments else ""
    return told and told[1], comment, Lines(text[above.end() :], text.count("\n", 0, above.end()))


def _named(comment: str, separator: str) -> list[str]:
    """The fields of a line of comment, in case they are names."""
    try:
        return next((row for _, row in _fields(Lines(comment), separator)), [])
    except LTBenchError:
        return []


def _separator(body: Lines) -> str:
    """What separates the fields of a text: the first that fits, rather with a name for each.

    Raises:
        LTBenchError: none fits; tells why the likeliest does not.
    """
    top = body.text.partition("\n")[0]
    fits: dict[str, bool] = {}
    faults: dict[str, LTBenchError] = {}
    for separator in [one for one in SEPARATORS if one in top] or [BLANK]:
        try:
            fits[separator] = _refuse_uneven(body, separator)
        except LTBenchError as error:
            faults[separator] = error
    if fits:
        return max(fits, key=lambda one: fits[one])
    raise faults[max(faults, key=top.count)]


def _refuse_uneven(body: Lines, separator: str) -> bool:
    """Whether the first line has as many fields as all others.

    Raises:
        LTBenchError: the others differ, or the first has neither one fewer nor an empty one more;
            or there is one column.
    """
    lines = _fields(body, separator)
    number, first = next(lines, (0, []))
    last, second = next(lines, (number, first))
    for further, row in lines:
        if len(row) != len(second):
            raise LTBenchError(
                f"line {further} has {len(row)} fields, but line {last} has {len(second)}"
            )
    if not first:
        raise LTBenchError("it is empty")
    more = len(second) - len(first)
    if more not in (0, 1) and (more != -1 or first[-1].strip()):
        raise LTBenchError(
            f"line {last} has {len(second)} fields, but line {number} has {len(first)}"
        )
    if len(second) < 2:
        raise LTBenchError(
            "it has one column; if another character separates columns, say which in the "
            'protocol, as separator = ":"'
        )
    return more == 0


def _fields(lines: Lines, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The number and the fields of each line that has any.

    Raises:
        LTBenchError: a quote is left open, or closed within a field.
    """
    text = re.sub(r"^ +| +$", "", lines.text, flags=re.M) if separator == BLANK else lines.text
    quote = "'" if text.startswith("'") and '"' not in text else '"'
    reader = csv.reader(
        io.StringIO(text, newline="\n"),
        delimiter=separator,
        quotechar=quote,
        skipinitialspace=separator == BLANK or f"{separator} {quote}" in text,
        strict=True,
    )
    try:
        for row in reader:
            if any(map(str.strip, row)):
                yield lines.above + reader.line_num, row
    except csv.Error as error:
        raise LTBenchError(f"line {lines.above + reader.line_num}: {error}") from None


def _is_header(first: Sequence[str], rest: Sequence[Sequence[str]]) -> bool:
    """Whether a line names columns: it holds no numbers, or those from 0 or 1 on, or has beside
    numbers words that no other line has in their places."""
    fields = [field.strip() for field in first]
    numbers = [bool(amount(field, ".") or amount(field, ",")) for field in fields]
    if not any(numbers) or numbered([field for field in fields if field]):
        return True
    words = [k for k, field in enumerate(fields) if field and not numbers[k]]
    return bool(words) and not any(row[k].strip() == fields[k] for row in rest for k in words)


def _paired(names: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """A name for each field: without what only ends the lines, with "" for the name of the row.

    Raises:
        LTBenchError: a field has no name, and it cannot be told which.
    """
    width, first = len(rows[0]), [row[0].strip() for row in rows]
    counts = numbered(first)
    ends = not any(names[width - 1 :]) and not any(row[-1].strip() for row in rows)
    if ends and not (counts and len(names) < width):
        return names[: width - 1], [row[:-1] for row in rows]
    if len(names) < width:
        words = not any(amount(word, ".") or amount(word, ",") for word in first)
        if ends or not (counts or words and len(set(first)) == len(first)):
            told = shorten(" | ".join(rows[0]), 60)
            raise LTBenchError(
                f"every line has {width} fields, as {told!r}, but there are names for "
                f"{len(names)} columns; name them all"
            )
        names = ["", *names]
    return names[:width], rows
