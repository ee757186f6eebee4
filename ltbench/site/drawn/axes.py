"""Axes, and the words at them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ltbench.scoring.measures import Measure
from ltbench.site.drawn.marks import LETTER, SMALL, Drawing, Lines, Shape, Text
from ltbench.texts import visible

PARTS = 50  # of the classes from head to tail, at most
FAR = 3  # times the width of the middle half, from which on a value is beyond its axis


@dataclass(frozen=True)
class Scale:
    """Numbers from `low` to `high` as pixels, in equal steps or equal ratios."""

    low: float
    high: float
    start: float
    end: float
    ratio: bool = False

    def __call__(self, value: float) -> float:
        if self.ratio:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + min(max(share, -0.02), 1.02) * (self.end - self.start)

    def ticks(self, most: int) -> list[float]:
        return _ratios(self.low, self.high) if self.ratio else steps(self.low, self.high, most)


def steps(low: float, high: float, most: int) -> list[float]:
    """Round numbers within bounds, so many at most, in equal steps of 1, 2 or 5 times a power."""
    rough = (high - low) / max(most, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _ratios(low: float, high: float) -> list[float]:
    found = [
        k * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for k in ((1, 1.5, 2, 3, 5, 7) if high < 12 * low else (1, 2, 5))
        if low <= k * 10.0**power <= high
    ]
    return found if len(found) < 8 else [one for one in found if f"{one:e}".startswith("1.0")]


def cut(text: str, width: float, letter: float = LETTER) -> str:
    """A text of others as a label of some width: in one line, its invisible letters shown."""
    shown = visible(" ".join(text.split()))
    room = max(int(width / letter), 4)
    return shown if len(shown) <= room else shown[: room - 1] + "…"


def room_for(names: Iterable[str], width: float) -> float:
    """The width of a column of labels, less than half of the sheet."""
    longest = max((len(visible(name)) for name in names), default=0)
    return min(longest * LETTER + 8, 0.44 * width)


def at_tick(value: float) -> str:
    return f"{value:.6g}".replace("-", "−")


def minus(text: str) -> str:
    """A number with the sign that is as wide as a plus."""
    return text.replace("-", "−")


def arrow(scale: Scale, value: float, upright: bool = False) -> Shape | None:
    """The arrow to a value that lies beyond an axis."""
    if scale.low <= value <= scale.high:
        return None
    if upright:
        return "down" if value < scale.low else "up"
    return "left" if value < scale.low else "right"


def unit_of(measure: Measure) -> str:
    return {"%": "points", "s": "seconds", "x": "times"}.get(measure.unit, measure.unit)


def axis_below(drawing: Drawing, scale: Scale, top: float, foot: float, label: str) -> None:
    """Grid lines with their numbers, and what they are of."""
    room = abs(scale.end - scale.start)
    for tick in scale.ticks(max(2, int(room / 55))):
        x = scale(tick)
        drawing.add(
            Lines([[(x, top), (x, foot)]], "grid"),
            Text(x, foot + 13, at_tick(tick), "middle", "small"),
        )
    half = len(label) * SMALL / 2
    middle = max(min((scale.start + scale.end) / 2, drawing.width - half), half)
    drawing.add(Text(middle, foot + 27, label, "middle", "small"))


def bounds(values: Sequence[float], always: Sequence[float] = ()) -> tuple[float, float]:
    """The bounds of an axis: of all values, or where a few lie far out, of the others and of those
    that must be seen."""
    ordered = sorted(values)
    quarter, three = (ordered[round(share * (len(ordered) - 1))] for share in (0.25, 0.75))
    reach = FAR * (three - quarter)
    near = [one for one in ordered if quarter - reach <= one <= three + reach or not reach]
    low, high = min([*near, *always]), max([*near, *always])
    room = (high - low) * 0.04 or 1.0
    return low - room, high + room


def parts(values: Sequence[float | None]) -> list[float | None]:
    """Numbers of classes from head to tail, or means of neighbours where they are very many."""
    if len(values) <= PARTS:
        return list(values)
    ends = [round(k * len(values) / PARTS) for k in range(PARTS + 1)]
    means: list[float | None] = []
    for start, end in zip(ends, ends[1:], strict=False):
        there = [value for value in values[start:end] if value is not None]
        means.append(sum(there) / len(there) if there else None)
    return means
