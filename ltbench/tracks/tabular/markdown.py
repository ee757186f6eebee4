"""A comparison over tables as Markdown or a pandas frame."""

from typing import TYPE_CHECKING, Any

import msgspec

from ltbench.rendering.cells import (
    DASH,
    UNLIKE,
    code,
    cost_cell,
    legend,
    measured,
    number,
    plain,
    recipe_cell,
    resolved,
    seconds,
    table_of,
    title,
)
from ltbench.scoring.measures import Measure
from ltbench.scoring.statistics import NOTHING, Mean
from ltbench.tracks.tabular.comparison import Against, Compared, Comparison
from ltbench.tracks.tabular.measures import MEASURES, NAMES, ranking_of
from ltbench.tracks.tabular.problem import PLAIN, TUNED

if TYPE_CHECKING:
    import pandas

OF = {measure.name: measure for measure in MEASURES}
FIRST = ("f1", "g_mean", "f1_tuned", "average_precision", "brier")
UNCALIBRATED = 0.01  # of the Brier score, above plain learners, that is warned of


def markdown(board: Comparison) -> str:
    """The tables in percent, and what one needs to know to read them."""
    others = [name for name in NAMES if name not in FIRST]
    measure = ranking_of(board.ranking)
    ranking, over = measure.label, what_over(board)
    whole, parts = ([r for r in board.rows if r.whole is which] for which in (True, False))
    blocks = [
        title(board.protocol, board.cells, board.wanted),
        board.description,
        _first_table(whole, measure, ranked=board.friedman is not None),
        "Recipes that not every learner takes, on the problems that they can take; compare their "
        f"differences and, below, their {ranking} with one learner:"
        if whole and parts
        else "",
        _first_table(parts, measure, ranked=False),
        legend(*explained(board)),
        *(
            [resolved(measure, board.resolution, over, "rows", f" from `{board.floor}`")]
            if board.resolution is not None
            else []
        ),
        "Problems, each a table with a learner, that are won, tied and lost on these rows, each "
        f"judged by the 95 % interval of the difference in {ranking} over seeds, widened as above; "
        f"and {ranking} by learner:",
        table_of(
            ["recipe", f"against {PLAIN}", f"against {TUNED}", *board.learners, "cells"],
            [
                [
                    recipe_cell(row.recipe, []),
                    record_of(row.over_plain),
                    record_of(row.over_tuned),
                    *(_mean(measure, row.by_learner[name]) for name in board.learners),
                    ", ".join(f"{n} {status}" for status, n in row.status.items() if n),
                ]
                for row in board.rows
            ],
        ),
        f"{ranking} by table, mean over learners:",
        _by_table(board, measure),
        "Rows of each class: "
        + "; ".join(f"{name} {', '.join(map(str, c))}" for name, c in board.tables.items())
        + ".",
        table_of(
            ["recipe", *(OF[name].label for name in others), "rows", "work s"],
            [
                [
                    recipe_cell(row.recipe, []),
                    *(_value(row, name) for name in others),
                    number(row.cost.passes, "{:.2f}"),
                    seconds(row.cost.work, decimals=3),
                ]
                for row in board.rows
            ],
        ),
        legend(
            "*bal. acc.* (mean recall), *MCC* (Matthews' correlation) and *F2* are of decisions",
            "*AUC*, *log loss* and *ECE* (expected calibration error in 15 bins) need no threshold "
            "but the largest score",
            "of two classes, F1, F2 and AUPRC are of the rarer; of more, means over classes",
            "*rows*: that were fitted, in units of the training rows",
            "*work s*: seconds of the processor for a cell's fits with one learner, the median",
        ),
        "\n".join(
            f"- {code(row.recipe)}: {plain(note)}" for row in board.rows for note in row.notes
        ),
        "\n".join(f"- Costs were measured on {plain(machine)}." for machine in board.machines),
        f"Protocol {board.protocol} version {board.version}, hash `{board.hash}`.",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def explained(board: Comparison) -> list[str]:
    """What one needs to know to read the first table, in clauses."""
    measure = ranking_of(board.ranking)
    ranking = measure.label
    return [
        "In percent: means over learners and tables, of each seed's two folds",
        f"*over {PLAIN}*, *over {TUNED}*: the difference in {ranking} to plain learners, and "
        f"to those with a threshold set on held-out rows, on the same problems, with the 95 % "
        f"interval {_over(board)}",
        *(
            ["lower is better; a difference above zero is a gain"]
            if measure.better == "lower"
            else []
        ),
        *_ordering(board),
        *_short(board),
        *_ranks(board),
        "*F1*, *G-mean*: of decisions, which are the recipe's own: the largest score unless it "
        "moves them",
        "*F1 tuned*: with a threshold that is set for F1 in the same way for every row, on "
        "training rows scored by models that did not see them",
        "*AUPRC* needs no threshold",
        "*Brier*: lower is better, needs no threshold",
        "*cost*: processor time of all cells in units of plain learners, timed beside",
        *_ranges(board),
        f"† is not shown to beat `{TUNED}`: its difference does not hold at 5 % by Benjamini "
        "and Hochberg's procedure for all rows, or is a loss",
        "‡ pays with calibration: its Brier score is worse than that of plain learners by a "
        "point or more",
    ]


def _by_table(board: Comparison, measure: Measure) -> str:
    """A line for each recipe, or for each table where there are more of these."""
    recipes = [recipe_cell(row.recipe, []) for row in board.rows]
    means = [[_mean(measure, row.by_table[name]) for name in board.tables] for row in board.rows]
    if len(board.tables) <= len(recipes):
        lines = zip(recipes, means, strict=True)
        return table_of(["recipe", *board.tables], [[name, *told] for name, told in lines])
    turned = zip(board.tables, zip(*means, strict=True), strict=True)
    return table_of(["table", *recipes], [[name, *told] for name, told in turned])


def _first_table(rows: list[Compared], ranking: Measure, ranked: bool) -> str:
    if not rows:
        return ""
    over = [f"over {PLAIN}", f"over {TUNED}", *(["rank"] if ranked else [])]
    return table_of(
        ["recipe", OF["f1"].label, *over, *(OF[name].label for name in FIRST[1:]), "cost"],
        [
            [
                recipe_cell(row.recipe, row.notes) + _marks(row) + _of_cells(row),
                _value(row, "f1"),
                _difference(ranking, row.over_plain),
                _difference(ranking, row.over_tuned),
                *([_average_rank(row)] if ranked else []),
                *(_value(row, name) for name in FIRST[1:]),
                cost_cell(row.cost),
            ]
            for row in rows
        ],
    )


def _ordering(board: Comparison) -> list[str]:
    if board.ranking != "f1-then-g-mean":
        return [f"rows are ordered by the difference to {PLAIN}"]
    return [
        f"rows are ordered by the difference to {PLAIN}, those within one standard error of the "
        "best left by G-mean"
    ]


def what_over(board: Comparison) -> str:
    """What the means of a comparison are over."""
    return "tables" if len(board.tables) > 1 else "seeds"


def _over(board: Comparison) -> str:
    """What an interval is over."""
    seeds = "over seeds, widened as all seeds cut the same rows (Nadeau and Bengio)"
    if len(board.tables) == 1:
        return seeds
    return f"over tables, or of one table {seeds}"


def _short(board: Comparison) -> list[str]:
    if not any(_of_cells(row) for row in board.rows):
        return []
    return [
        "a row that lacks cells of most others, or failed on a seed that another finished, has no "
        "rank and stands below"
    ]


def _of_cells(row: Compared) -> str:
    """How many cells a row has, where that is not as many as the others."""
    have = row.board_cells - row.missing_cells
    return f" ({have} of {row.board_cells} cells)" if row.missing_cells and have else ""


def _ranges(board: Comparison) -> list[str]:
    """What brackets at a cost are, where there are any."""
    if not any("(" in cost_cell(row.cost) for row in board.rows):
        return []
    return [f"in brackets the range over seeds, where the ends differ by a factor of {UNLIKE}"]


def _ranks(board: Comparison) -> list[str]:
    test = board.friedman
    if test is None:
        return []
    return [
        "*rank*: average over tables, of the recipes that every learner takes; rows that share a "
        f"letter are not told apart (Nemenyi, 5 %: {test.critical_difference:.1f} ranks between "
        f"{test.recipes} recipes on {test.tables} tables; Friedman p = {test.p_value:.2g})"
    ]


def _marks(row: Compared) -> str:
    marks = " †" if row.over_tuned is not None and row.over_tuned.better is False else ""
    if row.brier_over_plain is not None and row.brier_over_plain >= UNCALIBRATED:
        marks += " ‡"
    return marks


def _value(row: Compared, name: str) -> str:
    return measured(OF[name], row.metrics[name], bounds=False)


def _mean(measure: Measure, value: float | None) -> str:
    return measured(measure, Mean(value, None, None))


def _difference(ranking: Measure, against: Against | None) -> str:
    return measured(ranking, against.difference if against else None, sign="+")


def record_of(against: Against | None) -> str:
    """Problems won, tied and lost."""
    return DASH if against is None else f"{against.won}/{against.tied}/{against.lost}"


def _average_rank(row: Compared) -> str:
    return DASH if row.average_rank is None else f"{row.average_rank:.1f} {row.group}"


def frame(board: Comparison) -> "pandas.DataFrame":
    """A row for each recipe; intervals stand in columns that end in _low and _high."""
    import pandas

    ranking = ranking_of(board.ranking).name
    found = board.resolution
    whole = {
        "detectable_alone": found.alone if found else None,
        "detectable": found.corrected if found else None,
    }
    return pandas.DataFrame([_flat(row, ranking) | whole for row in board.rows])


def _flat(row: Compared, ranking: str) -> dict[str, Any]:
    flat: dict[str, Any] = {"recipe": row.recipe, "whole": row.whole}
    flat |= {name: mean.mean for name, mean in row.metrics.items()}
    for name, against in ((PLAIN, row.over_plain), (TUNED, row.over_tuned)):
        gap = against.difference if against else NOTHING
        flat |= {
            f"over_{name}": gap.mean,
            f"over_{name}_low": gap.low,
            f"over_{name}_high": gap.high,
        }
        for ending in ("p", "adjusted_p"):
            flat[f"over_{name}_{ending}"] = getattr(against, ending) if against else None
        for outcome in ("won", "tied", "lost"):
            flat[f"{outcome}_against_{name}"] = getattr(against, outcome) if against else None
    flat["brier_over_erm"] = row.brier_over_plain
    flat |= {"board_cells": row.board_cells, "missing_cells": row.missing_cells}
    flat |= {"average_rank": row.average_rank, "group": row.group}
    flat |= {f"{ranking}_with_{name}": value for name, value in row.by_learner.items()}
    flat |= {f"{ranking}_on_{name}": value for name, value in row.by_table.items()}
    return {**flat, **msgspec.to_builtins(row.cost), **row.status}
