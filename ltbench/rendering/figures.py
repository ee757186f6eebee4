"""What figures show, as data; pages and papers draw them alike (`ltbench.site.drawn`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ltbench.scoring.measures import Measure

Number = float | None
Verdict = Literal["better", "worse", "same", "untold"]
"""Where the interval of a difference lies: above zero, below or around it, or there is none."""


@dataclass(frozen=True)
class Interval:
    """A number with its interval, if there is one, the numbers that it is the mean of, and what the
    interval tells."""

    name: str
    value: float
    low: Number
    high: Number
    verdict: Verdict
    dots: Sequence[float] = ()


@dataclass(frozen=True)
class Forest:
    """Gains over a reference, one below the other; above zero is better."""

    rows: Sequence[Interval]
    measure: Measure
    reference: str


@dataclass(frozen=True)
class Point:
    """What something costs and reaches; `front` says that nothing costs less and reaches more."""

    name: str
    x: float
    y: float
    front: bool
    reference: bool = False


@dataclass(frozen=True)
class Tradeoff:
    """What is reached at which cost, in units of something plain."""

    points: Sequence[Point]
    measure: Measure
    unit: str


@dataclass(frozen=True)
class Line:
    """A number for each place; None where there is none."""

    name: str
    values: Sequence[Number]


@dataclass(frozen=True)
class Recall:
    """Recall of each class from head to tail, with the rows of each."""

    counts: Sequence[float]
    lines: Sequence[Line]


@dataclass(frozen=True)
class Range:
    """The best and the worst rank of a row."""

    name: str
    best: int
    worst: int


@dataclass(frozen=True)
class Ranges:
    """The ranks that rows may have, of so many."""

    rows: Sequence[Range]
    of: int


@dataclass(frozen=True)
class CriticalDifference:
    """Average ranks, best first; those that lie within `difference` are not told apart."""

    names: Sequence[str]
    ranks: Sequence[float]
    difference: float
    tables: int


@dataclass(frozen=True)
class Heat:
    """Gains [rows, columns]; above zero is better."""

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[Number]]
    measure: Measure


@dataclass(frozen=True)
class Twin:
    name: str
    first: float
    second: float


@dataclass(frozen=True)
class Twins:
    """Two numbers of each row, joined by a line."""

    title: str
    first: str
    second: str
    rows: Sequence[Twin]
    measure: Measure


@dataclass(frozen=True)
class Apart:
    """Which of each two rows are told apart: 2 among all, 1 if looked at alone, 0 not [N, N]."""

    names: Sequence[str]
    told: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Bars:
    """Rows of each class, the largest first."""

    counts: Sequence[float]


@dataclass(frozen=True)
class Curve:
    """A learning rate over training, each at shares of it."""

    shares: Sequence[float]
    rates: Sequence[float]


Figure = (
    Forest | Tradeoff | Recall | Ranges | CriticalDifference | Heat | Twins | Apart | Bars | Curve
)
