"""What each recipe reaches on each table."""

from ltbench.rendering.figures import Heat
from ltbench.site.drawn.axes import cut, room_for, unit_of
from ltbench.site.drawn.marks import MOST, ROW, SMALL, Box, Drawing, Text
from ltbench.texts import visible


def heat(figure: Heat, width: int) -> Drawing:
    rows, left_out = figure.rows[:MOST], max(len(figure.rows) - MOST, 0)
    names = min(room_for(rows, width), 0.34 * width)
    head = min(max((len(visible(c)) for c in figure.columns), default=0) * SMALL + 6, 110)
    cell = (width - names - 4) / max(len(figure.columns), 1)
    tall = ROW
    drawing = Drawing(
        width,
        head + tall * len(rows) + 8,
        f"{figure.title[0].upper()}{figure.title[1:]}, in {unit_of(figure.measure)}; blue is "
        "better than zero, orange worse",
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
