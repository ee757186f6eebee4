"""Recall from head to tail."""

import math
from collections.abc import Sequence

from ltbench.rendering.figures import Recall
from ltbench.site.drawn.axes import Scale, at_tick, cut, parts
from ltbench.site.drawn.marks import LETTER, WIDE, Box, Drawing, Lines, Text
from ltbench.texts import visible

CHOSEN = 8  # lines that are told apart in one figure


def recall(figure: Recall, width: int) -> Drawing:
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
        drawing.add(Text(end + 5, rows(tick) + 4, at_tick(tick), style="small faint"))
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
