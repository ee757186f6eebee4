"""Imbalanced cells beside their balanced twins."""

from ltbench.rendering.figures import Twins
from ltbench.site.drawn.axes import Scale, arrow, axis_below, bounds, cut, room_for
from ltbench.site.drawn.marks import MOST, ROW, SMALL, Drawing, Lines, Sign, Text
from ltbench.texts import visible


def twins(figure: Twins, width: int) -> Drawing:
    rows, left_out = figure.rows[:MOST], max(len(figure.rows) - MOST, 0)
    names = room_for((row.name for row in rows), width)
    top, foot = 24, 24 + ROW * len(rows) + 4
    drawing = Drawing(width, foot + 36, figure.title[0].upper() + figure.title[1:])
    drawing.left_out = left_out
    scaled, form = figure.measure.scaled, figure.measure.written
    scale = Scale(
        *bounds([scaled(v) for row in rows for v in (row.first, row.second)]),
        names + 8,
        width - 10,
    )
    label = figure.measure.called + (" in percent" if figure.measure.unit == "%" else "")
    axis_below(drawing, scale, top, foot, label)
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
        ends = arrow(scale, scaled(row.first)), arrow(scale, scaled(row.second))
        drawing.add(
            Text(names, y + 4, cut(row.name, names - 4), "end", "name", said),
            Lines([[(one, y), (other, y)]], "joined"),
            Sign(other, y, ends[1] or "same", said),
            Sign(one, y, ends[0] or "better", said),
        )
    return drawing
