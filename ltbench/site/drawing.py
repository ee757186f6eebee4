"""Figures laid out as marks: lines, dots, boxes and texts, in pixels, for a page or for a paper."""

from collections.abc import Callable

from ltbench.rendering.figures import (
    Apart,
    Bars,
    CriticalDifference,
    Curve,
    Figure,
    Forest,
    Heat,
    Ranges,
    Recall,
    Tradeoff,
    Twins,
)
from ltbench.site.drawn.apart import apart
from ltbench.site.drawn.bars import bars
from ltbench.site.drawn.critical import critical
from ltbench.site.drawn.curve import curve
from ltbench.site.drawn.forest import forest
from ltbench.site.drawn.heat import heat
from ltbench.site.drawn.marks import WIDE, Drawing
from ltbench.site.drawn.ranges import ranges
from ltbench.site.drawn.recall import recall
from ltbench.site.drawn.tradeoff import tradeoff
from ltbench.site.drawn.twins import twins


def draw(figure: Figure, width: int = WIDE) -> Drawing:
    """A figure on a sheet of some width, in pixels."""
    return DRAWN[type(figure)](figure, width)


DRAWN: dict[type, Callable[..., Drawing]] = {
    Forest: forest,
    Tradeoff: tradeoff,
    Recall: recall,
    Ranges: ranges,
    CriticalDifference: critical,
    Heat: heat,
    Twins: twins,
    Apart: apart,
    Bars: bars,
    Curve: curve,
}
