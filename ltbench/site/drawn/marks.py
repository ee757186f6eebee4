"""What figures are made of: lines, dots, boxes, signs and texts, in pixels, on a sheet."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ltbench.rendering.figures import Verdict

WIDE, NARROW = 620, 330  # pixels; the narrow one is also a column of a paper
ROW = 18  # the height of a row
LETTER = 6.05  # the width of a letter of a label
SMALL = 5.8  # and of one at an axis
MOST = 100  # rows that are drawn one below the other

Shape = Verdict | Literal["left", "right", "up", "down"]


@dataclass(frozen=True)
class Lines:
    """Points joined by a line, or several such; `said` is told to who points at it."""

    points: Sequence[Sequence[tuple[float, float]]]
    style: str
    said: str = ""


@dataclass(frozen=True)
class Dots:
    """Round dots, each at a point, as wide as their style has it."""

    points: Sequence[tuple[float, float]]
    style: str
    said: str = ""


@dataclass(frozen=True)
class Box:
    left: float
    top: float
    width: float
    height: float
    style: str
    said: str = ""


@dataclass(frozen=True)
class Boxes:
    """Many cells of one size and style."""

    places: Sequence[tuple[float, float, float]]
    """Left, top and width of each."""
    height: float
    style: str


@dataclass(frozen=True)
class Text:
    left: float
    top: float
    text: str
    anchor: str = "start"
    style: str = ""
    said: str = ""
    turned: bool = False


@dataclass(frozen=True)
class Sign:
    """What a row is worth at a glance, a disc, a square or a ring; or an arrow to what lies beyond
    the axis."""

    left: float
    top: float
    style: Shape
    said: str = ""


Mark = Lines | Dots | Box | Boxes | Text | Sign


@dataclass
class Drawing:
    """Marks on a sheet of some size; `title` says in a sentence what is seen.

    `left_out` rows were too many to be drawn. `data` is what scripts need to draw further lines.
    """

    width: float
    height: float
    title: str
    marks: list[Mark] = field(default_factory=list)
    left_out: int = 0
    data: dict[str, float] = field(default_factory=dict)

    def add(self, *marks: Mark) -> None:
        self.marks += marks


SAID: dict[Verdict, str] = {
    "better": "better",
    "worse": "worse",
    "same": "not told apart",
    "untold": "no interval",
}
