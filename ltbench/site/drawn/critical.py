"""Average ranks, with the difference from which two are told apart."""

import math
from collections.abc import Sequence

from ltbench.rendering.figures import CriticalDifference
from ltbench.site.drawn.axes import Scale, at_tick, cut
from ltbench.site.drawn.marks import LETTER, WIDE, Drawing, Lines, Text
from ltbench.texts import visible


def critical(figure: CriticalDifference, width: int) -> Drawing:
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
            Text(x, top - 9, at_tick(tick), "middle", "small"),
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
