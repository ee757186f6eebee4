"""A drawing for a paper, by matplotlib: as PDF, SVG or PNG, at the width of a column."""

from io import BytesIO
from pathlib import Path
from typing import Any

from ltbench.errors import LTBenchError
from ltbench.rendering.figures import Figure
from ltbench.results.records import write_bytes
from ltbench.site.drawing import draw
from ltbench.site.drawn.marks import NARROW, Box, Boxes, Dots, Drawing, Lines, Sign, Text

INCHES = 3.3  # a column
FORMATS = ("svg", "pdf", "png")
FONTS = {"": 11.0, "small": 10.5, "name": 10.0, "tiny": 9.0, "fine": 5.5}
"""Sizes of texts in pixels of the drawing."""

BLUE, ORANGE, GREY, FAINT, INK = "#0065a8", "#b34700", "#5f6770", "#dfe3e8", "#000000"
COLOURS = ("#000000", "#0072b2", "#c14f00", "#00805f", "#a8417f", "#7a6400", "#3d8fc4", "#6b4fb0")
DASHES = ("-", (0, (7, 2)), (0, (2, 2)), (0, (9, 3, 2, 3)), (0, (4, 2)), (0, (1, 3)))
SHADES = {
    **{f"up-{n}": c for n, c in enumerate(("#d9e8f5", "#a9cbe7", "#4f94c9", BLUE), 1)},
    **{f"down-{n}": c for n, c in enumerate(("#fbe5d6", "#f3bd97", "#d9762f", "#a84200"), 1)},
}
FILLS = {
    "count": FAINT,
    "solid": "#5b7fa6",
    "range": "#5b7fa6",
    "told-2": BLUE,
    "told-1": "#a9cbe7",
    "told-0": FAINT,
    "shade-0": FAINT,
    **{f"shade-{name}": colour for name, colour in SHADES.items()},
}
STROKES = {
    "grid": (FAINT, 0.8),
    "zero": (INK, 1.0),
    "front": (BLUE, 1.2),
    "clique": (INK, 3.0),
    "lead": (GREY, 0.7),
    "joined": ("#8a939e", 2.0),
}
SIGNS = {
    "better": ("o", BLUE, BLUE, 7.5),
    "worse": ("s", ORANGE, ORANGE, 7.0),
    "same": ("o", "#ffffff", GREY, 7.0),
    "untold": ("x", GREY, GREY, 6.0),
    "left": ("<", GREY, GREY, 7.0),
    "right": (">", GREY, GREY, 7.0),
    "up": ("^", GREY, GREY, 7.0),
    "down": ("v", GREY, GREY, 7.0),
}
"""Shape, inside, edge and size; shapes tell without colours."""


def plot(figure: Figure, path: Path) -> None:
    """Draws a figure into a file, whose ending says in which form.

    Raises:
        LTBenchError: another ending, matplotlib is not installed, or the file cannot be written.
    """
    form = path.suffix.lower().lstrip(".")
    if form not in FORMATS:
        raise LTBenchError(f"{path}: a figure ends in .{', .'.join(FORMATS)}")
    write_bytes(path, drawn(draw(figure, NARROW), form))


def required() -> None:
    """Makes sure that there is matplotlib.

    Raises:
        LTBenchError: it is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise LTBenchError("a figure needs matplotlib: pip install 'ltbench[site]'") from None


def drawn(drawing: Drawing, form: str) -> bytes:
    """The bytes of a drawing; the same drawing gives the same ones."""
    required()
    import logging

    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Sheet

    settings: Any = {
        "pdf.fonttype": 42,  # fonts are embedded, and text stays text
        "svg.fonttype": "path",
        "svg.hashsalt": "ltbench",
        "font.family": ["DejaVu Sans"],
        "text.usetex": False,
        "text.parse_math": False,
        "path.simplify": False,
    }
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # of letters that no font has
    with rc_context(settings):
        scale = INCHES / drawing.width
        sheet = Sheet(figsize=(INCHES, drawing.height * scale))
        FigureCanvasAgg(sheet)
        axes = sheet.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, drawing.width)
        axes.set_ylim(drawing.height, 0)
        axes.axis("off")
        point = 72 * scale  # of a pixel
        for order, mark in enumerate(drawing.marks):
            _add(axes, mark, point, order)
        content = BytesIO()
        told = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[form]
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of letters that no font has
            sheet.savefig(content, format=form, dpi=400, metadata=told)
    return content.getvalue()


def _add(axes: Any, mark: Any, point: float, order: int) -> None:
    """Puts a mark on a sheet, above those before it."""
    from matplotlib.patches import Rectangle

    if isinstance(mark, Lines):
        colour, width, dash = _stroke(mark.style)
        for one in mark.points:
            x, y = zip(*one, strict=True) if one else ((), ())
            axes.plot(x, y, color=colour, lw=width * point, ls=dash, zorder=order, clip_on=False)
    elif isinstance(mark, Dots):
        x, y = zip(*mark.points, strict=True) if mark.points else ((), ())
        size = (2.4 * point) ** 2
        axes.scatter(x, y, s=size, color="#8a939e", linewidths=0, zorder=order, clip_on=False)
    elif isinstance(mark, Sign):
        shape, inside, edge, size = SIGNS[mark.style]
        axes.plot(
            [mark.left],
            [mark.top],
            marker=shape,
            ms=size * point,
            mfc=inside,
            mec=edge,
            mew=1.3 * point,
            ls="",
            zorder=order,
            clip_on=False,
        )
    elif isinstance(mark, Box | Boxes):
        alone = [(mark.left, mark.top, mark.width)] if isinstance(mark, Box) else []
        for left, top, wide in alone if isinstance(mark, Box) else mark.places:
            fill = FILLS[mark.style]
            axes.add_patch(Rectangle((left, top), wide, mark.height, lw=0, fc=fill, zorder=order))
    elif isinstance(mark, Text):
        from matplotlib.patheffects import withStroke

        words = mark.style.split()
        halo = [withStroke(linewidth=2.5 * point, foreground="white")] if "name" in words else []
        size = FONTS[next((word for word in words if word in FONTS), "")]
        ink = "#ffffff" if "strong" in words else GREY if "faint" in words else INK
        axes.text(
            mark.left,
            mark.top,
            mark.text,
            fontsize=size * point,
            family="DejaVu Sans Mono" if {"name", "fine"} & set(words) else "DejaVu Sans",
            color=ink,
            ha={"start": "left", "middle": "center", "end": "right"}[mark.anchor],
            va="baseline",
            rotation=90 if mark.turned else 0,
            rotation_mode="anchor",
            zorder=order,
            parse_math=False,
            path_effects=halo,
        )


def _stroke(style: str) -> tuple[str, float, Any]:
    words = style.split()
    if words[0] == "bar":
        colour = {"better": BLUE, "worse": ORANGE}.get(words[1], GREY)
        return colour, 1.8, "-"
    if words[0] == "line":
        n = int(words[1].partition("-")[2])
        return COLOURS[n % len(COLOURS)], 1.6, DASHES[n % len(DASHES)]
    colour, width = STROKES[words[0]]
    return colour, width, (0, (5, 3)) if words[0] == "front" else "-"
