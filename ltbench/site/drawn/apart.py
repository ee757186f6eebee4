"""Which rows are told apart."""

from ltbench.rendering.figures import Apart
from ltbench.site.drawn.axes import cut, room_for
from ltbench.site.drawn.marks import LETTER, MOST, SMALL, Box, Boxes, Drawing, Text


def apart(figure: Apart, width: int) -> Drawing:
    names, left_out = figure.names[:MOST], max(len(figure.names) - MOST, 0)
    label = room_for(names, width)
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
