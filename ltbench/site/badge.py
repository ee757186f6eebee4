"""The badge of a row, for the page of whoever made the method."""

from html import escape

from ltbench.errors import LTBenchError
from ltbench.rendering.cells import measured
from ltbench.rendering.overview import Overview
from ltbench.texts import visible

LETTER, EDGE, HEIGHT = 6.6, 7, 20  # pixels: of a letter on the average, beside a text, in all
GREY, COLOURS = "#50565e", {"better": "#00692d", "worse": "#a84200", "same": "#5b6470"}


def badge(board: Overview, recipe: str) -> str:
    """A picture in SVG that says where a row of a board stands: its gain with the 95 % interval,
    coloured by what that tells, and its rank.

    Raises:
        LTBenchError: the board has no such row.
    """
    row = next((one for one in board.entries if one.recipe == recipe), None)
    if row is None:
        known = ", ".join(one.recipe for one in board.entries)
        raise LTBenchError(
            f"no row {recipe!r} on the board of {board.protocol}; there are: {known}"
        )
    if row.gain is None or row.gain.mean is None:
        said = measured(board.ranking, row.means[board.ranking.name])
    else:
        said = f"{measured(board.ranking, row.gain, '+')} over {board.reference}"
    left = f"{board.protocol}: {visible(recipe)}"
    right = said if row.place is None else f"{said}, rank {row.rank}"
    wide = [round(LETTER * len(text)) + 2 * EDGE for text in (left, right)]
    colour = COLOURS.get(row.verdict, COLOURS["same"])
    texts = zip((left, right), (0, wide[0]), wide, strict=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{sum(wide)}" height="{HEIGHT}" '
        f'role="img" aria-label="{escape(left)}, {escape(right)}">'
        f'<rect width="{wide[0]}" height="{HEIGHT}" fill="{GREY}"/>'
        f'<rect x="{wide[0]}" width="{wide[1]}" height="{HEIGHT}" fill="{colour}"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        + "".join(
            f'<text x="{start + EDGE}" y="14" textLength="{width - 2 * EDGE}">{escape(text)}</text>'
            for text, start, width in texts
        )
        + "</g></svg>\n"
    )
