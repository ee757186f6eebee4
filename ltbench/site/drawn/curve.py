"""A rate over shares."""

from ltbench.rendering.figures import Curve
from ltbench.site.drawn.axes import Scale, at_tick
from ltbench.site.drawn.marks import Drawing, Lines, Text


def curve(figure: Curve, width: int) -> Drawing:
    height = 150
    drawing = Drawing(width, height, "Learning rate over the training")
    left, end, top, foot = 46.0, width - 22.0, 10.0, height - 28.0
    across = Scale(0, 100, left, end)
    up = Scale(0, max(figure.rates) * 1.05 or 1.0, foot, top)
    for tick in up.ticks(4):
        drawing.add(
            Lines([[(left, up(tick)), (end, up(tick))]], "grid"),
            Text(left - 5, up(tick) + 4, at_tick(tick), "end", "small"),
        )
    for tick in across.ticks(5):
        drawing.add(Text(across(tick), foot + 14, f"{tick:.0f} %", "middle", "small"))
    path = zip(figure.shares, figure.rates, strict=True)
    drawing.add(Lines([[(across(100 * s), up(r)) for s, r in path]], "line line-0"))
    return drawing
