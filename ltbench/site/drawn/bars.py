"""Training rows of each class."""

from ltbench.rendering.figures import Bars
from ltbench.site.drawn.axes import Scale, at_tick, parts
from ltbench.site.drawn.marks import Box, Drawing, Lines, Text


def bars(figure: Bars, width: int) -> Drawing:
    counts = [count or 0.0 for count in parts(figure.counts)]
    height = 180
    drawing = Drawing(width, height, "Training rows of each class, from head to tail")
    left, end, top, foot = 46.0, width - 6.0, 14.0, height - 26.0
    up = Scale(0.8, max([*counts, 1]) * 1.3, foot, top, ratio=True)
    space = (end - left) / max(len(counts), 1)
    for tick in up.ticks(5):
        drawing.add(
            Lines([[(left, up(tick)), (end, up(tick))]], "grid"),
            Text(left - 5, up(tick) + 4, at_tick(tick), "end", "small"),
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
