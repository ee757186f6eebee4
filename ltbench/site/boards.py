"""The page of a board: its table, its figures, and the numbers of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup

from ltbench.boards.tuned import TunedBoard, clauses, moved, sheet
from ltbench.rendering.cells import DASH, cost_cell, measured
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
from ltbench.rendering.figures import Line as Values
from ltbench.rendering.overview import Entry, Overview
from ltbench.scoring.measures import FIRST, Measure
from ltbench.scoring.statistics import LEVEL
from ltbench.site import figures
from ltbench.site.drawing import draw
from ltbench.site.drawn.axes import PARTS, minus, parts
from ltbench.site.drawn.marks import MOST, NARROW, SAID, WIDE
from ltbench.site.grids import Cell, Column, Grid, Line, numbers
from ltbench.site.svg import svg

SIGNS = {"better": "▲", "worse": "▼", "same": "○", "untold": "·"}
LARGE = 40  # rows from which on a figure of pairs takes the whole width
OPEN = ("balanced_accuracy", "accuracy", "many", "medium", "few", "worst_class", "f1", "g_mean")
"""Measures whose columns are shown until others are chosen, beside those of the first table."""


@dataclass(frozen=True)
class Shown:
    """A figure on a page: drawn for wide and for narrow screens, and its numbers."""

    name: str
    title: str
    said: str
    wide: Markup
    narrow: Markup
    numbers: Sequence[Grid]
    left_out: int
    large: bool


def ranked(board: Overview, families: dict[str, list[str]]) -> Grid:
    """The table of a board, a line for each recipe."""
    others = [one for one in board.measures if one != board.ranking]
    further = list(board.entries[0].further) if board.entries else []
    columns = [
        Column("recipe", "recipe", number=False, code=True),
        Column("rank", "rank", "best and worst rank that the row may have"),
        Column("value", board.ranking.called, "with its 95 % interval over " + board.over),
        Column("gain", f"gain over {board.reference}", "paired difference, 95 % interval"),
        Column(
            "holds", "told apart", f"from {board.reference}, among all pairs (adjusted p ≤ {LEVEL})"
        ),
        *(
            Column(
                one.name.replace("_", "-"),
                one.called,
                ("higher" if one.better == "higher" else "lower") + " is better",
                hidden=one.table != FIRST and one.name not in OPEN,
            )
            for one in others
        ),
        *(Column(f"further-{n}", label, hidden=n > 0) for n, label in enumerate(further)),
        Column("cost", "cost", f"of {board.doing}, in units of {board.unit}"),
        *(
            [Column("rows", "of rows", "standard error that the test rows add", hidden=True)]
            if board.of_rows
            else []
        ),
        Column("passes", "passes", "rows whose gradient was computed", hidden=True),
        Column("seeds", "finished", "cells that ended well", hidden=True),
        Column("status", "cells", number=False, hidden=True),
    ]
    lines = [_line(board, one, n, others, families) for n, one in enumerate(board.entries)]
    every = sorted({family for told in families.values() for family in told})
    states = sorted({word for line in lines for word in line.told["status"].split()})
    filters: dict[str, Sequence[str]] = {"family": every, "status": states}
    picks = len(lines) > 1
    return Grid("board", f"Recipes on {board.protocol}", columns, lines, filters, picks=picks)


@dataclass(frozen=True)
class Tuned:
    """The tuned rows of a board: their table, what explains it, and what tuning changed."""

    grid: Grid
    said: Sequence[str]
    changed: str
    remarks: Sequence[str]


def tuned(board: TunedBoard) -> Tuned:
    """What a page shows of tuned rows, best first."""
    headers, rows = sheet(board)
    at, regret, chosen = (headers.index(name) for name in ("recipe", "regret", "chosen"))
    between = [n for n in range(len(headers)) if n not in (at, chosen)]
    order = [at, *between, chosen]  # on pages names stand first
    columns = [Column(f"tuned-{n}", headers[n], number=n in between, code=n == at) for n in order]
    lines = [
        Line([Cell(minus(row[n]) if n == regret else row[n]) for n in order], name=row[at])
        for row in rows
    ]
    grid = Grid("tuned", f"Tuned recipes on {board.protocol}", columns, lines, plain=True)
    return Tuned(grid, clauses(board), moved(board), board.remarks)


def _line(
    board: Overview, one: Entry, place: int, others: list[Measure], families: dict[str, list[str]]
) -> Line:
    ranking, cost = board.ranking, one.cost
    value = one.means[ranking.name]
    told = "reference" if one.recipe == board.reference else ""
    holds = {True: "yes", False: "no", None: DASH}[one.holds]
    star = f"{len(one.notes)} notes below" if one.notes else ""
    state = ", ".join(f"{n} {name}" for name, n in one.status.items() if n)
    gain = one.gain.mean if one.gain else None
    return Line(
        [
            Cell(one.recipe, said=star, style=told),
            Cell(one.rank, float(place)),
            Cell(measured(ranking, value), value.mean),
            Cell(
                "reference" if told else minus(measured(ranking, one.gain, sign="+")),
                0.0 if told else gain,
                style=one.verdict if gain is not None else "",
            ),
            Cell(holds, None if one.holds is None else float(one.holds)),
            *(
                Cell(measured(m, one.means[m.name], bounds=False), one.means[m.name].mean)
                for m in others
            ),
            *(Cell(minus(text), _leading(text)) for text in one.further.values()),
            Cell(cost_cell(cost), cost.relative),
            *(
                [
                    Cell(
                        DASH if one.rows_error is None else ranking.written(one.rows_error),
                        one.rows_error,
                    )
                ]
                if board.of_rows
                else []
            ),
            Cell(DASH if cost.passes is None else f"{cost.passes:.2f}", cost.passes),
            Cell(str(one.seeds), float(one.seeds)),
            Cell(state),
        ],
        {"family": " ".join(families.get(one.recipe, [])), "status": " ".join(_states(one))},
        one.recipe,
        "control" if one.control else "",
    )


def _leading(text: str) -> float | None:
    """The number that a cell of a track's own begins with."""
    try:
        return float(text.replace("/", " ").split()[0])
    except (ValueError, IndexError):
        return None


def _states(one: Entry) -> list[str]:
    bad = [name for name, n in one.status.items() if n and name != "ok"]
    return [*(bad or ["ok"]), *(["control"] if one.control else [])]


def drawn(board: Overview) -> list[Shown]:
    """The figures of a board that it has the numbers for, the track's own after the common ones."""
    reference, many = board.reference, board.classes > PARTS
    common = [
        (
            "forest",
            f"Gain over {reference}",
            "A disc is better than zero by its 95 % interval, a square worse, a ring neither. "
            f"Small dots are single {board.over}. Each interval is of this difference alone; the "
            "table tells what holds among all.",
            figures.forest(board),
        ),
        (
            "ranks",
            "Ranks",
            "From one more than the rows that are told apart above to the last less those told "
            "apart below: rows whose bars overlap widely should not be put in order.",
            figures.ranks(board),
        ),
        (
            "pareto",
            f"{board.ranking.called} against cost",
            "The line joins recipes that no other reaches at less cost (discs), by their means; "
            f"the square is {reference}. Neighbours on it may not be told apart.",
            figures.tradeoff(board),
        ),
        (
            "recall",
            "Recall from head to tail",
            "Mean over seeds; bars are training rows on a scale of ratios. Choose recipes in the "
            "table above." + (" Neighbouring classes are put together." if many else ""),
            figures.recall(board),
        ),
        (
            "apart",
            "Pairs told apart",
            "Dark: at 5 % by Benjamini and Hochberg's procedure among all pairs, which ranks rest "
            "on. Light: only if that pair were the only one looked at (unadjusted).",
            figures.apart(board),
        ),
    ]
    own = [(f"own-{n}", *_said(one), one) for n, one in enumerate(board.figures)]
    return [
        shown(name, title, said, figure, board)
        for name, title, said, figure in (*own, *common)
        if figure is not None
    ]


def _said(figure: Figure) -> tuple[str, str]:
    if isinstance(figure, CriticalDifference):
        return (
            "Average ranks",
            "Recipes that every learner takes; those that a bar joins are not told apart.",
        )
    if isinstance(figure, Heat):
        return _upper(figure.title), "In points; blue is a gain, orange a loss."
    if isinstance(figure, Twins):
        return (
            f"{figure.first} and {figure.second}",
            "The length of a line is what imbalance costs.",
        )
    return "", ""


def shown(name: str, title: str, said: str, figure: Figure, board: Overview | None = None) -> Shown:
    """A figure as a page shows it."""
    wide, narrow = draw(figure, WIDE), draw(figure, NARROW)
    grids = tables(name, figure, board)
    large = isinstance(figure, Apart) and len(figure.names) > LARGE
    return Shown(
        name,
        _upper(title),
        said,
        svg(wide, "wide"),
        svg(narrow, "narrow"),
        grids,
        wide.left_out,
        large,
    )


def tables(name: str, figure: Figure, board: Overview | None) -> list[Grid]:
    """The numbers of a figure."""
    title, headers, rows = _numbers(figure, board)
    return [numbers(f"{name}-numbers", title, headers, rows)]


def _numbers(
    figure: Figure, board: Overview | None
) -> tuple[str, Sequence[str], list[Sequence[str]]]:
    rows: list[Sequence[str]]
    if isinstance(figure, Forest):
        write = partial(_signed, figure.measure)
        rows = [
            [
                one.name,
                write(one.value),
                *(DASH if end is None else write(end) for end in (one.low, one.high)),
                SAID[one.verdict],
                " ".join(write(dot) for dot in one.dots),
            ]
            for one in figure.rows
        ]
        single = f"single {board.over if board else 'values'}"
        return "Gains", ["recipe", "gain", "from", "to", "alone", single], rows
    if isinstance(figure, Tradeoff):
        rows = [
            [p.name, f"{p.x:.3g}x", figure.measure.written(p.y), "yes" if p.front else ""]
            for p in figure.points
        ]
        return "Costs", ["recipe", "cost", figure.measure.called, "on the line"], rows
    if isinstance(figure, Recall):
        counts = parts(figure.counts)
        rows = [["rows", *(f"{count:.0f}" for count in counts if count is not None)]]
        every = board.entries if board is not None else []
        lines = [Values(one.recipe, one.recall) for one in every if one.recall]
        rows += [
            [one.name, *(DASH if v is None else f"{100 * v:.1f}" for v in parts(one.values))]
            for one in lines or figure.lines
        ]
        return "Recall in percent", ["recipe", *map(str, range(1, len(counts) + 1))], rows
    if isinstance(figure, Ranges):
        rows = [[one.name, str(one.best), str(one.worst)] for one in figure.rows]
        return "Ranks", ["recipe", "best", "worst"], rows
    if isinstance(figure, CriticalDifference):
        rows = [
            [name, f"{rank:.2f}"] for name, rank in zip(figure.names, figure.ranks, strict=True)
        ]
        return "Average ranks", ["recipe", "rank"], rows
    if isinstance(figure, Heat):
        write = partial(_signed, figure.measure)
        rows = [
            [name, *(DASH if v is None else write(v) for v in values)]
            for name, values in zip(figure.rows, figure.values, strict=True)
        ]
        return _upper(figure.title), ["recipe", *figure.columns], rows
    if isinstance(figure, Twins):
        told = figure.measure.written
        rows = [[one.name, told(one.first), told(one.second)] for one in figure.rows]
        return _upper(figure.title), ["recipe", figure.first, figure.second], rows
    if isinstance(figure, Apart):
        return _pairs(figure, board)
    if isinstance(figure, Bars):
        rows = [[str(n), f"{count:.0f}"] for n, count in enumerate(parts(figure.counts), 1)]
        return "Rows of each class", ["class", "rows"], rows
    assert isinstance(figure, Curve)
    path = list(zip(figure.shares, figure.rates, strict=True))
    some = path[:: max(len(path) // 20, 1)]
    return "Learning rate", ["share", "rate"], [[f"{100 * s:.0f} %", f"{r:.3g}"] for s, r in some]


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _signed(measure: Measure, value: float) -> str:
    return minus(measure.written(value, "+"))


def _pairs(figure: Apart, board: Overview | None) -> tuple[str, Sequence[str], list[Sequence[str]]]:
    """P values of pairs: adjusted above the diagonal, unadjusted below."""
    pairs = board.pairs if board else None
    if pairs is None:
        return "", [], []
    n = len(pairs.recipes)
    most = min(n, MOST)
    cells = [[""] * most for _ in range(most)]
    k = 0
    for first in range(n):
        for second in range(first + 1, n):
            if second < most:
                cells[first][second] = _p(pairs.adjusted_p[k])
                cells[second][first] = _p(pairs.p[k])
            k += 1
    rows: list[Sequence[str]] = [
        [f"{place} {name}", *own]
        for place, (name, own) in enumerate(zip(pairs.recipes, cells, strict=False), 1)
    ]
    title = "p of each pair: adjusted for all pairs above the diagonal, unadjusted below it"
    return title, ["recipe", *map(str, range(1, most + 1))], rows


def _p(value: float | None) -> str:
    return DASH if value is None else "<.001" if value < 0.001 else f"{value:.3f}".lstrip("0")
