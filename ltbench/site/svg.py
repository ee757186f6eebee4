"""A drawing as SVG within a page, whose style sheet gives it colours."""

from markupsafe import Markup, escape

from ltbench.site.drawn.marks import Box, Boxes, Dots, Drawing, Lines, Mark, Sign, Text

PATHS = {
    "better": "M{x} {y}m-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0",
    "worse": "M{x} {y}m-4 -4h8v8h-8z",
    "same": "M{x} {y}m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0",
    "left": "M{x} {y}m3 -5l-7 5l7 5z",
    "right": "M{x} {y}m-3 -5l7 5l-7 5z",
    "up": "M{x} {y}m-5 3l5 -7l5 7z",
    "down": "M{x} {y}m-5 -3l5 7l5 -7z",
    "untold": "M{x} {y}m-3.5 -3.5l7 7m0 -7l-7 7",
}


def svg(drawing: Drawing, kind: str = "") -> Markup:
    """A drawing as an element; what it says is told to who points at a mark."""
    data = "".join(f' data-{name}="{_short(value)}"' for name, value in drawing.data.items())
    size = f"{_short(drawing.width)} {_short(drawing.height)}"
    inner = "".join(map(_mark, drawing.marks))
    return Markup(  # noqa: S704 - each text within was escaped
        f'<svg class="{escape(kind)}" viewBox="0 0 {size}" role="img" '
        f'aria-label="{escape(drawing.title)}"{data}>{inner}</svg>'
    )


def _short(number: float) -> str:
    text = f"{number:.1f}"
    return text[:-2] if text.endswith(".0") else text


def _mark(mark: Mark) -> str:
    said = (
        f"<title>{escape(mark.said)}</title>" if not isinstance(mark, Boxes) and mark.said else ""
    )
    if isinstance(mark, Lines):
        path = "".join(
            f"M{'L'.join(f'{_short(x)} {_short(y)}' for x, y in one)}" for one in mark.points if one
        )
        return _element("path", f'class="{mark.style}" d="{path}"', said)
    if isinstance(mark, Dots):
        path = "".join(f"M{_short(x)} {_short(y)}h0" for x, y in mark.points)
        return _element("path", f'class="{mark.style}" d="{path}"', said)
    if isinstance(mark, Boxes):
        tall = _short(mark.height)
        path = "".join(
            f"M{_short(x)} {_short(y)}h{_short(wide)}v{tall}h-{_short(wide)}z"
            for x, y, wide in mark.places
        )
        return _element("path", f'class="{mark.style}" d="{path}"', "")
    if isinstance(mark, Sign):
        path = PATHS[mark.style].format(x=_short(mark.left), y=_short(mark.top))
        return _element("path", f'class="sign {mark.style}" d="{path}"', said)
    if isinstance(mark, Box):
        x, y, wide, tall = map(_short, (mark.left, mark.top, mark.width, mark.height))
        where = f'class="{mark.style}" x="{x}" y="{y}" width="{wide}" height="{tall}"'
        return _element("rect", where, said)
    return _text(mark, said)


def _text(mark: Text, said: str) -> str:
    x, y = _short(mark.left), _short(mark.top)
    anchor = "" if mark.anchor == "start" else f' text-anchor="{mark.anchor}"'
    turn = f' transform="rotate(-90 {x} {y})"' if mark.turned else ""
    style = f' class="{mark.style}"' if mark.style else ""
    return f'<text x="{x}" y="{y}"{anchor}{turn}{style}>{escape(mark.text)}{said}</text>'


def _element(name: str, attributes: str, inner: str) -> str:
    return f"<{name} {attributes}>{inner}</{name}>" if inner else f"<{name} {attributes}/>"
