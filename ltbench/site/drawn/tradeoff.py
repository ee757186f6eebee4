"""What a method reaches against what it costs."""

from collections.abc import Sequence

from ltbench.rendering.figures import Tradeoff, Verdict
from ltbench.site.drawn.axes import Scale, arrow, at_tick, axis_below, bounds, cut
from ltbench.site.drawn.marks import LETTER, SMALL, WIDE, Drawing, Lines, Sign, Text
from ltbench.texts import visible


def tradeoff(figure: Tradeoff, width: int) -> Drawing:
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
    up = Scale(*bounds(ys), foot, top)
    axis_below(drawing, across, top, foot, cut(f"cost, times {figure.unit}", width - left, SMALL))
    for tick in up.ticks(6):
        y = up(tick)
        drawing.add(
            Lines([[(left, y), (end, y)]], "grid"),
            Text(left - 5, y + 4, at_tick(tick), "end", "small"),
        )
    label = figure.measure.called + (" in percent" if figure.measure.unit == "%" else "")
    drawing.add(
        Text(11, (top + foot) / 2, cut(label, foot - top, SMALL), "middle", "small", "", True)
    )
    at = {
        id(p): (across(p.x), min(max(up(scaled(p.y)), top + 6), foot - 6))
        if arrow(up, scaled(p.y))
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
        beyond = arrow(up, scaled(point.y), upright=True)
        drawing.add(Sign(x, y, beyond or style, said))
    for point in sorted(drawn, key=lambda p: (not p.reference, not p.front, up(scaled(p.y)))):
        told = point.front or point.reference
        name = cut(point.name, 0.42 * width)
        if arrow(up, scaled(point.y)):
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
