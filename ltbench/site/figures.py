"""The figures that boards of all kinds have, of their overviews."""

from collections.abc import Callable

from ltbench.errors import LTBenchError
from ltbench.rendering.figures import (
    Apart,
    CriticalDifference,
    Figure,
    Forest,
    Interval,
    Line,
    Point,
    Range,
    Ranges,
    Recall,
    Tradeoff,
)
from ltbench.rendering.overview import Entry, Overview
from ltbench.scoring.statistics import LEVEL
from ltbench.site.drawn.tradeoff import front

LINES = 4  # recipes whose recall is drawn until others are chosen


def forest(board: Overview) -> Forest | None:
    rows = [
        Interval(
            one.recipe, one.gain.mean, one.gain.low, one.gain.high, one.verdict, tuple(one.gains)
        )
        for one in board.entries
        if one.gain is not None and one.gain.mean is not None
    ]
    return Forest(rows, board.ranking, board.reference) if rows else None


def tradeoff(board: Overview) -> Tradeoff | None:
    """What ranked rows and the reference reach at which cost, by their means."""
    shown = []
    for one in board.entries:
        value, cost = one.means[board.ranking.name].mean, one.cost.relative
        there = _stands(board, one) or one.recipe == board.reference
        if value is not None and cost is not None and not one.control and there:
            shown.append((one, cost, value))
    if len(shown) < 2:
        return None
    beaten = front(
        [(cost, value, _stands(board, one)) for one, cost, value in shown],
        1 if board.ranking.better == "higher" else -1,
    )
    points = [
        Point(one.recipe, cost, value, best, one.recipe == board.reference)
        for (one, cost, value), best in zip(shown, beaten, strict=True)
    ]
    return Tradeoff(points, board.ranking, board.unit)


def _stands(board: Overview, one: Entry) -> bool:
    """Whether a row stands beside the others: it lacks no seeds that they have."""
    ranked = any(entry.rank != "–" for entry in board.entries)
    return one.rank != "–" or not ranked


def recall(board: Overview) -> Recall | None:
    """Recall from head to tail of the reference and of the first rows."""
    there = [one for one in board.entries if one.recall and not one.control]
    counts = board.counts.get("", [])
    if not there or not counts:
        return None
    first = [one for one in there if one.recipe == board.reference]
    first += [one for one in there if one.recipe != board.reference]
    return Recall(counts, [Line(one.recipe, one.recall) for one in first[:LINES]])


def ranks(board: Overview) -> Ranges | None:
    rows = [Range(one.recipe, *one.place) for one in board.entries if one.place is not None]
    return Ranges(rows, len(rows)) if len(rows) > 1 else None


def apart(board: Overview) -> Apart | None:
    """Which ranked rows are told apart, among all pairs and alone."""
    pairs = board.pairs
    if pairs is None or len(pairs.recipes) < 2:
        return None
    n = len(pairs.recipes)
    told = [[0] * n for _ in range(n)]
    k = 0
    for first in range(n):
        for second in range(first + 1, n):
            p, among = pairs.p[k], pairs.adjusted_p[k]
            here = 2 if among is not None and among <= LEVEL else 1
            if p is not None and (p <= LEVEL or here == 2):
                told[first][second] = told[second][first] = here
            k += 1
    return Apart(pairs.recipes, told)


def critical(board: Overview) -> Figure | None:
    return next((one for one in board.figures if isinstance(one, CriticalDifference)), None)


KINDS: dict[str, Callable[[Overview], Figure | None]] = {
    "forest": forest,
    "pareto": tradeoff,
    "recall": recall,
    "ranks": ranks,
    "critical-difference": critical,
}
"""What `ltbench plot` draws."""


def figure(board: Overview, kind: str) -> Figure:
    """The figure of a kind.

    Raises:
        LTBenchError: the board has none of this kind.
    """
    made = KINDS[kind](board)
    if made is None:
        there = [name for name, make in KINDS.items() if make(board) is not None]
        raise LTBenchError(
            f"{board.protocol} has no figure {kind}; it has {', '.join(there) or 'none'}"
        )
    return made
