"""Grids: the tables of pages, whose cells sort by what they mean, not by how they are written."""

from collections.abc import Sequence
from dataclasses import dataclass, field

Key = float | str | None


@dataclass(frozen=True)
class Cell:
    """What is shown, what it sorts by where that is another thing, and where it leads.

    `marks` are further links in the cell: a sign, what it says, where it leads, its style.
    """

    text: str
    key: Key = None
    link: str = ""
    style: str = ""
    said: str = ""
    marks: Sequence[tuple[str, str, str, str]] = ()


@dataclass(frozen=True)
class Column:
    """A column: its name in links to a state, its header, what explains it, and if it is hidden
    until it is asked for."""

    name: str
    label: str
    said: str = ""
    number: bool = True
    hidden: bool = False
    code: bool = False


@dataclass(frozen=True)
class Line:
    """A row: its cells, and what filters ask of it, words by the name of the filter."""

    cells: Sequence[Cell]
    told: dict[str, str] = field(default_factory=dict)
    name: str = ""
    style: str = ""


@dataclass(frozen=True)
class Grid:
    """A table. `filters` are choices by the name of what they ask of lines; `picks` lets lines be
    chosen for a figure or a comparison."""

    name: str
    title: str
    columns: Sequence[Column]
    lines: Sequence[Line]
    filters: dict[str, Sequence[str]] = field(default_factory=dict)
    plain: bool = False
    picks: bool = False


def numbers(name: str, title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Grid:
    """A plain table of texts, the first of each row its name."""
    columns = [Column(f"c{n}", h, number=n > 0, code=n == 0) for n, h in enumerate(headers)]
    return Grid(name, title, columns, [Line([Cell(t) for t in row]) for row in rows], plain=True)
