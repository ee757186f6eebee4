"""The ranges of ranks."""

from ltbench.rendering.figures import Ranges
from ltbench.site.drawn.axes import Scale, cut, room_for, steps
from ltbench.site.drawn.marks import MOST, ROW, Box, Drawing, Lines, Text
from ltbench.texts import visible


def ranges(figure: Ranges, width: int) -> Drawing:
    rows, left_out = figure.rows[:MOST], max(len(figure.rows) - MOST, 0)
    names = room_for((row.name for row in rows), width)
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
