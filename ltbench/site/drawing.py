"""Figures laid out as marks: lines, dots, boxes and texts, in pixels, for a page or for a paper."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ltbench.rendering.figures import (
    Apart,
    Bars,
    CriticalDifference,
    Curve,
    Figure,
    Forest,
    Heat,
    Interval,
    Ranges,
    Recall,
    Tradeoff,
    Twins,
    Verdict,
)
from ltbench.scoring.measures import Measure
from ltbench.texts import visible

WIDE, NARROW = 620, 330  # pixels; the narrow one is also a column of a paper
ROW = 18  # the height of a row
LETTER = 6.05  # the width of a letter of a label
SMALL = 5.8  # and of one at an axis
MOST = 100  # rows that are drawn one below the other
PARTS = 50  # of the classes from head to tail, at most
FAR = 3  # times the width of the middle half, from which on a value is beyond its axis
CHOSEN = 8  # lines that are told apart in one figure


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


def draw(figure: Figure, width: int = WIDE) -> Drawing:
    """A figure on a sheet of some width, in pixels."""
    return DRAWN[type(figure)](figure, width)


def cut(text: str, width: float, letter: float = LETTER) -> str:
    """A text of others as a label of some width: in one line, its invisible letters shown."""
    shown = visible(" ".join(text.split()))
    room = max(int(width / letter), 4)
    return shown if len(shown) <= room else shown[: room - 1] + "…"


def _names(names: Iterable[str], width: float) -> float:
    """The width of a column of labels, less than half of the sheet."""
    longest = max((len(visible(name)) for name in names), default=0)
    return min(longest * LETTER + 8, 0.44 * width)


def _number(value: float) -> str:
    return f"{value:.6g}".replace("-", "−")


def written(measure: Measure, row: Interval) -> str:
    """A gain with its interval."""
    text = measure.written(row.value, "+")
    if row.low is not None and row.high is not None:
        text += f" ± {measure.written(max(row.high - row.value, row.value - row.low))}"
    return minus(text)


def minus(text: str) -> str:
    """A number with the sign that is as wide as a plus."""
    return text.replace("-", "−")


def _beyond(scale: Scale, value: float, upright: bool = False) -> Shape | None:
    """The arrow to a value that lies beyond an axis."""
    if scale.low <= value <= scale.high:
        return None
    if upright:
        return "down" if value < scale.low else "up"
    return "left" if value < scale.low else "right"


def _unit(measure: Measure) -> str:
    return {"%": "points", "s": "seconds", "x": "times"}.get(measure.unit, measure.unit)


def _axis_below(drawing: Drawing, scale: Scale, top: float, foot: float, label: str) -> None:
    """Grid lines with their numbers, and what they are of."""
    room = abs(scale.end - scale.start)
    for tick in scale.ticks(max(2, int(room / 55))):
        x = scale(tick)
        drawing.add(
            Lines([[(x, top), (x, foot)]], "grid"),
            Text(x, foot + 13, _number(tick), "middle", "small"),
        )
    half = len(label) * SMALL / 2
    middle = max(min((scale.start + scale.end) / 2, drawing.width - half), half)
    drawing.add(Text(middle, foot + 27, label, "middle", "small"))


SAID: dict[Verdict, str] = {
    "better": "better",
    "worse": "worse",
    "same": "not told apart",
    "untold": "no interval",
}


def _key(drawing: Drawing, left: float, top: float, verdicts: Iterable[Verdict]) -> None:
    there = set(verdicts)
    wide = sum(8 + len(SAID[one]) * SMALL + 14 for one in there)
    left = max(min(left, drawing.width - wide), 8)
    for verdict in (one for one in SAID if one in there):
        drawing.add(Sign(left, top, verdict), Text(left + 8, top + 4, SAID[verdict], style="small"))
        left += 8 + len(SAID[verdict]) * SMALL + 14


def _forest(figure: Forest, width: int) -> Drawing:
    rows, left_out = figure.rows[:MOST], max(len(figure.rows) - MOST, 0)
    told = width >= WIDE
    names = _names((row.name for row in rows), width)
    room = (
        max((len(written(figure.measure, row)) for row in rows), default=0) * SMALL + 10
        if told
        else 8
    )
    top, foot = 24, 24 + ROW * len(rows) + 4
    title = (
        f"Gain in {figure.measure.called} over {figure.reference}, mean and 95 % interval of the "
        "paired difference; every dot is a seed or a table"
    )
    drawing = Drawing(width, foot + 36, title, left_out=left_out)
    scaled = figure.measure.scaled
    ends = [scaled(x) for row in rows for x in (row.value, *_shown(row)) if x is not None]
    low, high = _around(ends, [0.0])
    scale = Scale(low, high, names + 14, width - room)
    what = f" in {figure.measure.called}" if told else ""
    label = f"gain{what} over {visible(figure.reference)}"
    unit = _unit(figure.measure)
    label = f"{label}, {unit}" if unit else label
    _axis_below(drawing, scale, top, foot, cut(label, width - 20, SMALL))
    _key(drawing, names + 10, 10, (row.verdict for row in rows))
    drawing.add(Lines([[(scale(0), top), (scale(0), foot)]], "zero"))
    for n, row in enumerate(rows):
        y = top + ROW * (n + 0.5) + 2
        said = f"{visible(row.name)[:200]}: {written(figure.measure, row)}, {SAID[row.verdict]}"
        drawing.add(Text(names, y + 4, cut(row.name, names - 4), "end", "name", said))
        if row.dots:
            seen = [scaled(dot) for dot in row.dots if low <= scaled(dot) <= high]
            drawing.add(Dots([(scale(dot), y + 5.5) for dot in seen], "seed"))
        if row.low is not None and row.high is not None:
            ends_of = scale(scaled(row.low)), scale(scaled(row.high))
            drawing.add(Lines([[(x, y) for x in ends_of]], f"bar {row.verdict}"))
        beyond = _beyond(scale, scaled(row.value))
        drawing.add(Sign(scale(scaled(row.value)), y, beyond or row.verdict, said))
        if beyond and not told:
            x, anchor = scale(scaled(row.value)), "start" if beyond == "left" else "end"
            text = minus(figure.measure.written(row.value, "+"))
            drawing.add(Text(x + (8 if beyond == "left" else -8), y + 4, text, anchor, "small"))
        if told:
            drawing.add(Text(width, y + 4, written(figure.measure, row), "end", "small"))
    return drawing


def _shown(row: Interval) -> tuple[float | None, ...]:
    """The ends of an interval, and of its dots; one without an interval is told by these."""
    return (row.low, row.high, *row.dots)


def _around(values: Sequence[float], always: Sequence[float] = ()) -> tuple[float, float]:
    """The bounds of an axis: of all values, or where a few lie far out, of the others and of those
    that must be seen."""
    ordered = sorted(values)
    quarter, three = (ordered[round(share * (len(ordered) - 1))] for share in (0.25, 0.75))
    reach = FAR * (three - quarter)
    near = [one for one in ordered if quarter - reach <= one <= three + reach or not reach]
    low, high = min([*near, *always]), max([*near, *always])
    room = (high - low) * 0.04 or 1.0
    return low - room, high + room


def _tradeoff(figure: Tradeoff, width: int) -> Drawing:
    height = round(width * 0.72) if width < WIDE else 400
    title = (
        f"{figure.measure.called} against cost in units of {figure.unit}; the line joins the "
        "recipes that none beats at less cost, by their means"
    )
    drawing = Drawing(width, height, title[0].upper() + title[1:])
    left, top, foot, end = 44.0, 18.0, height - 40.0, width - 12.0
    scaled = figure.measure.scaled
    drawn = [point for point in figure.points if point.x > 0]
    if not drawn:
        return drawing
    xs, ys = [point.x for point in drawn], [scaled(point.y) for point in drawn]
    across = Scale(min(xs) / 1.12, max(xs) * 1.25, left, end, ratio=True)
    up = Scale(*_around(ys), foot, top)
    _axis_below(drawing, across, top, foot, cut(f"cost, times {figure.unit}", width - left, SMALL))
    for tick in up.ticks(6):
        y = up(tick)
        drawing.add(
            Lines([[(left, y), (end, y)]], "grid"),
            Text(left - 5, y + 4, _number(tick), "end", "small"),
        )
    label = figure.measure.called + (" in percent" if figure.measure.unit == "%" else "")
    drawing.add(
        Text(11, (top + foot) / 2, cut(label, foot - top, SMALL), "middle", "small", "", True)
    )
    at = {
        id(p): (across(p.x), min(max(up(scaled(p.y)), top + 6), foot - 6))
        if _beyond(up, scaled(p.y))
        else (across(p.x), up(scaled(p.y)))
        for p in drawn
    }
    front = sorted((point for point in drawn if point.front), key=lambda point: point.x)
    if len(front) > 1:
        drawing.add(Lines([_stairs([at[id(p)] for p in front])], "front"))
    labels = _Labels(left, end, foot)
    for x, y in at.values():
        labels.taken.append((x - 4, y - 4, x + 4, y + 4))
    for point in drawn:
        x, y = at[id(point)]
        said = f"{visible(point.name)[:200]}: {figure.measure.written(point.y)} at {point.x:.3g}x"
        style: Verdict = "better" if point.front else "worse" if point.reference else "same"
        beyond = _beyond(up, scaled(point.y), upright=True)
        drawing.add(Sign(x, y, beyond or style, said))
    for point in sorted(drawn, key=lambda p: (not p.reference, not p.front, up(scaled(p.y)))):
        told = point.front or point.reference
        name = cut(point.name, 0.42 * width)
        if _beyond(up, scaled(point.y)):
            name += f" {figure.measure.written(point.y)}"
        place = labels.place(*at[id(point)], len(name) * LETTER)
        if place is not None:
            drawing.add(Text(place[0], place[1], name, style="name" if told else "name faint"))
    return drawing


def _stairs(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """What is reached at most for a cost: level until the next point, then up."""
    path = [points[0]]
    for x, y in points[1:]:
        path += [(x, path[-1][1]), (x, y)]
    return path


class _Labels:
    """Finds room for labels beside points."""

    def __init__(self, left: float, right: float, foot: float) -> None:
        self.left, self.right, self.foot = left, right, foot
        self.taken: list[tuple[float, float, float, float]] = []

    def place(self, x: float, y: float, wide: float) -> tuple[float, float] | None:
        """Where a label of a point stands, if anywhere: its left end and its line."""
        for start, line in (
            (x + 8, y + 4),
            (x - 8 - wide, y + 4),
            (x - wide / 2, y - 8),
            (x - wide / 2, y + 17),
            (x - 5, y - 8),
            (x - wide + 5, y - 8),
            (x + 8, y - 7),
            (x + 8, y + 15),
            (x - 8 - wide, y - 7),
            (x - 8 - wide, y + 15),
        ):
            box = (start, line - 10, start + wide, line + 2)
            within = box[0] >= self.left and box[2] <= self.right and 0 < box[1] < self.foot - 8
            if within and not any(_overlap(box, other) for other in self.taken):
                self.taken.append(box)
                return start, line
        return None


def _overlap(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


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


def _recall(figure: Recall, width: int) -> Drawing:
    height = 300 if width >= WIDE else 260
    counts = [count or 0.0 for count in parts(figure.counts)]
    title = "Recall of each class in percent, from the largest class to the smallest; bars are rows"
    drawing = Drawing(width, height, title)
    left, end, top, foot = 36.0, width - 40.0, 12.0, height - 40.0
    space = (end - left) / max(len(counts), 1)
    chosen = [parts(line.values) for line in figure.lines[:CHOSEN]]
    least = floor([100 * value for values in chosen for value in values if value is not None])
    up = Scale(least, 100, foot, top)
    rows = Scale(0.8, max([*counts, 1]) * 1.3, foot, top, ratio=True)
    for n, count in enumerate(counts):
        if count > 0:
            y = rows(count)
            said = f"class {n + 1}: {count:.0f} rows"
            drawing.add(
                Box(left + n * space + 0.12 * space, y, 0.76 * space, foot - y, "count", said)
            )
    for percent in range(least, 101, 20 if least < 50 else 10 if least < 80 else 5):
        drawing.add(
            Lines([[(left, up(percent)), (end, up(percent))]], "grid tick"),
            Text(left - 5, up(percent) + 4, str(percent), "end", "small tick"),
        )
    for tick in rows.ticks(5):
        drawing.add(Text(end + 5, rows(tick) + 4, _number(tick), style="small faint"))
    drawing.add(
        Text(left, foot + 13, "head", style="small"),
        Text(end, foot + 13, "tail", "end", "small"),
        Text((left + end) / 2, foot + 13, "classes by their rows", "middle", "small"),
        Text(9, (top + foot) / 2, "recall in percent", "middle", "small", "", True),
        Text(width - 3, (top + foot) / 2, "rows", "middle", "small faint", "", True),
    )
    for k, (line, values) in enumerate(zip(figure.lines[:CHOSEN], chosen, strict=True)):
        there = [
            (left + (n + 0.5) * space, up(100 * value))
            for n, value in enumerate(values)
            if value is not None
        ]
        drawing.add(Lines([there], f"line line-{k}", visible(line.name)[:200]))
    drawing.data = {
        "left": left,
        "end": end,
        "space": space,
        "foot": foot,
        "top": top,
        "classes": len(counts),
    }
    return _with_key(drawing, [line.name for line in figure.lines[:CHOSEN]], left, width)


def floor(values: Sequence[float]) -> int:
    """Where an axis of percents begins that ends at 100; `site.js` has the same rule."""
    least = math.floor(min(values, default=0) / 10) * 10
    return (
        0 if least < 40 else min(least, 90) // 20 * 20 if least < 80 else 80 if least < 90 else 90
    )


def _with_key(drawing: Drawing, names: Sequence[str], left: float, width: float) -> Drawing:
    """The drawing with what its lines are of below it, a page has its own."""
    at, top = left, drawing.height - 8
    room = width - left - 30
    for k, name in enumerate(names):
        label = cut(name, room)
        wide = 24 + len(label) * LETTER + 12
        if at > left and at + wide > width:
            at, top = left, top + 16
        drawing.add(
            Lines([[(at, top - 4), (at + 20, top - 4)]], f"line line-{k} key"),
            Text(at + 24, top, label, style="name key"),
        )
        at += wide
    drawing.data["bottom"] = drawing.height - 20
    drawing.height = top + 8
    return drawing


def _ranges(figure: Ranges, width: int) -> Drawing:
    rows, left_out = figure.rows[:MOST], max(len(figure.rows) - MOST, 0)
    names = _names((row.name for row in rows), width)
    top, foot = 8, 8 + ROW * len(rows) + 4
    drawing = Drawing(
        width,
        foot + 36,
        f"The ranks that each row may have, of {figure.of}, as far as rows are told apart",
        left_out=left_out,
    )
    scale = Scale(0.5, figure.of + 0.5, names + 8, width - 10)
    thick = (scale.end - scale.start) / figure.of
    ticks = sorted({1, *(int(one) for one in steps(1, figure.of, int(width / 80)) if one >= 2)})
    for tick in ticks:
        drawing.add(
            Lines([[(scale(tick), top), (scale(tick), foot)]], "grid"),
            Text(scale(tick), foot + 13, str(tick), "middle", "small"),
        )
    drawing.add(Text((scale.start + scale.end) / 2, foot + 27, "rank", "middle", "small"))
    for n, row in enumerate(rows):
        y = top + ROW * (n + 0.5) + 2
        said = f"{visible(row.name)[:200]}: rank {row.best} to {row.worst}"
        start, end = scale(row.best - 0.5), scale(row.worst + 0.5)
        gap = min(1.0, thick / 6)
        drawing.add(
            Text(names, y + 4, cut(row.name, names - 4), "end", "name", said),
            Box(start + gap, y - 4, max(end - start - 2 * gap, 1.5), 8, "range", said),
        )
    return drawing


def _critical(figure: CriticalDifference, width: int) -> Drawing:
    names, count = figure.names, len(figure.names)
    half = (count + 1) // 2
    side = min(
        max(len(visible(n)) for n in names) * LETTER + 40, (0.4 if width >= WIDE else 0.36) * width
    )
    low = max(1, math.floor(min(figure.ranks)))
    high = max(math.ceil(max(figure.ranks)), low + 1)
    scale = Scale(low, high, side, width - side)
    cliques = _cliques(figure.ranks, figure.difference)
    top = 52
    below = top + 12 + 6 * len(cliques)
    drawing = Drawing(
        width,
        below + 16 * max(half, count - half) + 10,
        f"Average ranks over {figure.tables} tables; those that a bar joins are not told apart "
        f"(Nemenyi, 5 %: {figure.difference:.2f} ranks)",
    )
    drawing.add(Lines([[(scale.start, top), (scale.end, top)]], "zero"))
    for tick in scale.ticks(max(2, int((scale.end - scale.start) / 20))):
        x = scale(tick)
        drawing.add(
            Lines([[(x, top - 5), (x, top)]], "zero"),
            Text(x, top - 9, _number(tick), "middle", "small"),
        )
    wide = scale(low + figure.difference) - scale(low)
    if figure.difference <= high - low:
        drawing.add(
            Lines(
                [
                    [(side, 18), (side + wide, 18)],
                    [(side, 14), (side, 22)],
                    [(side + wide, 14), (side + wide, 22)],
                ],
                "zero",
            )
        )
    drawing.add(Text(side, 10, f"critical difference {figure.difference:.2f}", style="small"))
    for n, (first, last) in enumerate(cliques):
        y = top + 8 + 6 * n
        ends = [(scale(figure.ranks[first]) - 2, y), (scale(figure.ranks[last]) + 2, y)]
        drawing.add(Lines([ends], "clique"))
    for n, (name, rank) in enumerate(zip(names, figure.ranks, strict=True)):
        x, is_left = scale(rank), n < half
        line = n if is_left else count - 1 - n
        y = below + 16 * line + 8
        edge = side - 4 if is_left else width - side + 4
        said = f"{visible(name)[:200]}: average rank {rank:.2f}"
        drawing.add(Lines([[(x, top), (x, y), (edge, y)]], "lead", said))
        label, number = cut(name, side - 36), f"{rank:.1f}"
        beyond = edge - 3 if is_left else edge + 3
        text = f"{label} {number}" if is_left else f"{number} {label}"
        drawing.add(Text(beyond, y + 4, text, "end" if is_left else "start", "name", said))
    return drawing


def _cliques(ranks: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """The widest runs of rows of which none are told apart."""
    found: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = max(k for k in range(len(ranks)) if ranks[k] <= ranks[first] + difference)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def _heat(figure: Heat, width: int) -> Drawing:
    rows, left_out = figure.rows[:MOST], max(len(figure.rows) - MOST, 0)
    names = min(_names(rows, width), 0.34 * width)
    head = min(max((len(visible(c)) for c in figure.columns), default=0) * SMALL + 6, 110)
    cell = (width - names - 4) / max(len(figure.columns), 1)
    tall = ROW
    drawing = Drawing(
        width,
        head + tall * len(rows) + 8,
        f"{figure.title[0].upper()}{figure.title[1:]}, in {_unit(figure.measure)}; blue is better "
        "than zero, orange worse",
        left_out=left_out,
    )
    every = [abs(v) for row in figure.values for v in row if v is not None]
    most = sorted(every)[int(0.98 * (len(every) - 1))] if every else 0.0
    for k, column in enumerate(figure.columns):
        x = names + 4 + (k + 0.5) * cell
        drawing.add(Text(x + 3, head - 4, cut(column, head, SMALL), "start", "small", column, True))
    for n, (name, values) in enumerate(zip(rows, figure.values, strict=False)):
        y = head + n * tall
        drawing.add(Text(names, y + 12, cut(name, names - 4), "end", "name", visible(name)[:200]))
        for k, value in enumerate(values):
            if value is None:
                continue
            shade = min(4, round(4 * abs(value) / most)) if most else 0
            style = f"shade-{'up' if value > 0 else 'down'}-{shade}" if shade else "shade-0"
            x = names + 4 + k * cell
            number = f"{figure.measure.scaled(value):+.0f}".replace("+0", "0").replace("-0", "0")
            said = f"{visible(name)[:100]} on {figure.columns[k]}: "
            said += figure.measure.written(value, "+")
            drawing.add(Box(x, y, cell - 1, tall - 1, style, said))
            if cell >= 17:
                ink = "tiny strong" if shade > 2 else "tiny"
                drawing.add(Text(x + cell / 2, y + 11.5, number.replace("-", "−"), "middle", ink))
    return drawing


def _twins(figure: Twins, width: int) -> Drawing:
    rows, left_out = figure.rows[:MOST], max(len(figure.rows) - MOST, 0)
    names = _names((row.name for row in rows), width)
    top, foot = 24, 24 + ROW * len(rows) + 4
    drawing = Drawing(width, foot + 36, figure.title[0].upper() + figure.title[1:])
    drawing.left_out = left_out
    scaled, form = figure.measure.scaled, figure.measure.written
    scale = Scale(
        *_around([scaled(v) for row in rows for v in (row.first, row.second)]),
        names + 8,
        width - 10,
    )
    label = figure.measure.called + (" in percent" if figure.measure.unit == "%" else "")
    _axis_below(drawing, scale, top, foot, label)
    left = names + 10
    for style, name in (("better", figure.first), ("same", figure.second)):
        drawing.add(Sign(left, 10, style), Text(left + 8, 14, name, style="small"))  # type: ignore[arg-type]
        left += 8 + len(name) * SMALL + 16
    for n, row in enumerate(rows):
        y = top + ROW * (n + 0.5) + 2
        said = (
            f"{visible(row.name)[:200]}: {figure.first} {form(row.first)}, "
            f"{figure.second} {form(row.second)}"
        )
        one, other = scale(scaled(row.first)), scale(scaled(row.second))
        ends = _beyond(scale, scaled(row.first)), _beyond(scale, scaled(row.second))
        drawing.add(
            Text(names, y + 4, cut(row.name, names - 4), "end", "name", said),
            Lines([[(one, y), (other, y)]], "joined"),
            Sign(other, y, ends[1] or "same", said),
            Sign(one, y, ends[0] or "better", said),
        )
    return drawing


def _apart(figure: Apart, width: int) -> Drawing:
    names, left_out = figure.names[:MOST], max(len(figure.names) - MOST, 0)
    label = _names(names, width)
    cell = min((width - label - 8) / max(len(names), 1), 15.0)
    top = 22
    drawing = Drawing(
        width,
        top + cell * len(names) + 8,
        "Which of each two rows are told apart among all pairs, if looked at alone, or not; "
        "columns come in the order of rows",
        left_out=left_out,
    )
    left = label + 6
    for style, text in (("told-2", "among all"), ("told-1", "alone only"), ("told-0", "not")):
        drawing.add(Box(left, 5, 10, 10, style), Text(left + 14, 14, text, style="small"))
        left += 14 + len(text) * SMALL + 14
    places: dict[int, list[tuple[float, float, float]]] = {0: [], 1: [], 2: []}
    gap = 1 if cell > 8 else 0.3
    for n in range(len(names)):
        run: list[int] = []
        for k in [*range(len(names)), -1]:
            if run and (k < 0 or k == n or figure.told[n][k] != figure.told[n][run[0]] or cell > 8):
                wide = cell * len(run) - gap
                at = label + 6 + cell * run[0], top + cell * n, wide
                places[figure.told[n][run[0]]].append(at)
                run = []
            if k >= 0 and k != n:
                run.append(k)
    for told, every in places.items():
        if every:
            drawing.add(Boxes(every, cell - gap, f"told-{told}"))
    style = "name" if cell >= 10 else "fine"
    for n, name in enumerate(names):
        text = cut(name, label - 4, LETTER if cell >= 10 else 3.4)
        drawing.add(Text(label, top + cell * (n + 0.5) + min(4, cell / 3), text, "end", style))
    return drawing


def _bars(figure: Bars, width: int) -> Drawing:
    counts = [count or 0.0 for count in parts(figure.counts)]
    height = 180
    drawing = Drawing(width, height, "Training rows of each class, from head to tail")
    left, end, top, foot = 46.0, width - 6.0, 14.0, height - 26.0
    up = Scale(0.8, max([*counts, 1]) * 1.3, foot, top, ratio=True)
    space = (end - left) / max(len(counts), 1)
    for tick in up.ticks(5):
        drawing.add(
            Lines([[(left, up(tick)), (end, up(tick))]], "grid"),
            Text(left - 5, up(tick) + 4, _number(tick), "end", "small"),
        )
    for n, count in enumerate(counts):
        if count > 0:
            y, x = up(count), left + n * space
            drawing.add(
                Box(x + 0.1 * space, y, 0.8 * space, foot - y, "solid", f"{count:.0f} rows")
            )
            if space > 30:
                drawing.add(Text(x + space / 2, y - 3, f"{count:.0f}", "middle", "small"))
    drawing.add(
        Text(left, foot + 14, "head", style="small"), Text(end, foot + 14, "tail", "end", "small")
    )
    drawing.add(Text((left + end) / 2, foot + 14, "classes", "middle", "small"))
    return drawing


def _curve(figure: Curve, width: int) -> Drawing:
    height = 150
    drawing = Drawing(width, height, "Learning rate over the training")
    left, end, top, foot = 46.0, width - 22.0, 10.0, height - 28.0
    across = Scale(0, 100, left, end)
    up = Scale(0, max(figure.rates) * 1.05 or 1.0, foot, top)
    for tick in up.ticks(4):
        drawing.add(
            Lines([[(left, up(tick)), (end, up(tick))]], "grid"),
            Text(left - 5, up(tick) + 4, _number(tick), "end", "small"),
        )
    for tick in across.ticks(5):
        drawing.add(Text(across(tick), foot + 14, f"{tick:.0f} %", "middle", "small"))
    path = zip(figure.shares, figure.rates, strict=True)
    drawing.add(Lines([[(across(100 * s), up(r)) for s, r in path]], "line line-0"))
    return drawing


DRAWN: dict[type, Callable[..., Drawing]] = {
    Forest: _forest,
    Tradeoff: _tradeoff,
    Recall: _recall,
    Ranges: _ranges,
    CriticalDifference: _critical,
    Heat: _heat,
    Twins: _twins,
    Apart: _apart,
    Bars: _bars,
    Curve: _curve,
}


def front(points: Sequence[tuple[float, float, bool]], better: int = 1) -> list[bool]:
    """Which points, each of a cost, a value and whether it counts, none of the others beats.

    One beats another that costs no less and reaches no more, and is not the same.
    """
    return [
        counts
        and not any(
            there
            and cost <= x
            and better * value >= better * y
            and (cost < x or better * value > better * y)
            for cost, value, there in points
        )
        for x, y, counts in points
    ]
