"""Gains over plain training, with their intervals."""

from collections.abc import Iterable

from ltbench.rendering.figures import Forest, Interval, Verdict
from ltbench.scoring.measures import Measure
from ltbench.site.drawn.axes import Scale, arrow, axis_below, bounds, cut, minus, room_for, unit_of
from ltbench.site.drawn.marks import MOST, ROW, SAID, SMALL, WIDE, Dots, Drawing, Lines, Sign, Text
from ltbench.texts import visible


def written(measure: Measure, row: Interval) -> str:
    """A gain with its interval."""
    text = measure.written(row.value, "+")
    if row.low is not None and row.high is not None:
        text += f" ± {measure.written(max(row.high - row.value, row.value - row.low))}"
    return minus(text)


def _key(drawing: Drawing, left: float, top: float, verdicts: Iterable[Verdict]) -> None:
    there = set(verdicts)
    wide = sum(8 + len(SAID[one]) * SMALL + 14 for one in there)
    left = max(min(left, drawing.width - wide), 8)
    for verdict in (one for one in SAID if one in there):
        drawing.add(Sign(left, top, verdict), Text(left + 8, top + 4, SAID[verdict], style="small"))
        left += 8 + len(SAID[verdict]) * SMALL + 14


def forest(figure: Forest, width: int) -> Drawing:
    rows, left_out = figure.rows[:MOST], max(len(figure.rows) - MOST, 0)
    told = width >= WIDE
    names = room_for((row.name for row in rows), width)
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
    low, high = bounds(ends, [0.0])
    scale = Scale(low, high, names + 14, width - room)
    what = f" in {figure.measure.called}" if told else ""
    label = f"gain{what} over {visible(figure.reference)}"
    unit = unit_of(figure.measure)
    label = f"{label}, {unit}" if unit else label
    axis_below(drawing, scale, top, foot, cut(label, width - 20, SMALL))
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
        beyond = arrow(scale, scaled(row.value))
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
