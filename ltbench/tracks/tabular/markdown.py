"""A comparison over tables as Markdown or a pandas frame."""

from typing import TYPE_CHECKING, Any

import msgspec

from ltbench.rendering.cells import (
    DASH,
    code,
    legend,
    measured,
    number,
    plain,
    recipe_cell,
    table_of,
)
from ltbench.scoring.measures import Measure
from ltbench.scoring.statistics import Mean
from ltbench.tracks.tabular.comparison import PLAIN, TUNED, Against, Compared, Comparison
from ltbench.tracks.tabular.measures import MEASURES, NAMES, ranking_of

if TYPE_CHECKING:
    import pandas

OF = {measure.name: measure for measure in MEASURES}
FIRST = ("f1", "g_mean", "f1_tuned", "average_precision", "brier")
UNCALIBRATED = 0.01  # of the Brier score, above plain learners, that is warned of


def markdown(board: Comparison) -> str:
    """The tables in percent, and what one needs to know to read them."""
    others = [name for name in NAMES if name not in FIRST]
    measure = ranking_of(board.ranking)
    ranking = measure.label
    whole, parts = ([r for r in board.rows if r.whole is which] for which in (True, False))
    blocks = [
        f"# {board.protocol}",
        board.description,
        _first_table(whole, measure, ranked=board.friedman is not None),
        "Recipes that not every learner takes, on the problems that they can take; compare their "
        f"differences and, below, their {ranking} with one learner:"
        if whole and parts
        else "",
        _first_table(parts, measure, ranked=False),
        legend(
            "In percent: means over learners and tables, of each seed's two folds",
            f"*over {PLAIN}*, *over {TUNED}*: the difference in {ranking} to plain learners, and "
            "to those with a threshold set on held-out rows, on the same problems, with the 95 % "
            "interval over tables",
            *(
                ["lower is better; a difference above zero is a gain"]
                if measure.better == "lower"
                else []
            ),
            *_ordering(board),
            *_ranks(board),
            "*F1*, *G-mean*: of decisions, which are the recipe's own: the largest score unless it "
            "moves them",
            "*F1 tuned*: with a threshold that is set for F1 in the same way for every row, on "
            "training rows scored by models that did not see them",
            "*AUPRC* needs no threshold",
            "*Brier*: lower is better, needs no threshold",
            "*cost*: processor time in units of plain learners, timed beside",
            f"† does not beat `{TUNED}`: the interval of its difference is not above zero",
            "‡ pays with calibration: its Brier score is worse than that of plain learners by a "
            "point or more",
        ),
        "Problems, each a table with a learner, that are won, tied and lost, by the 95 % interval "
        f"of the difference in {ranking} over seeds; and {ranking} by learner:",
        table_of(
            ["recipe", f"against {PLAIN}", f"against {TUNED}", *board.learners, "cells"],
            [
                [
                    recipe_cell(row.recipe, []),
                    _record(row.over_plain),
                    _record(row.over_tuned),
                    *(_mean(measure, row.by_learner[name]) for name in board.learners),
                    ", ".join(f"{n} {status}" for status, n in row.status.items() if n),
                ]
                for row in board.rows
            ],
        ),
        f"{ranking} by table, mean over learners:",
        table_of(
            ["recipe", *board.tables],
            [
                [
                    recipe_cell(row.recipe, []),
                    *(_mean(measure, row.by_table[name]) for name in board.tables),
                ]
                for row in board.rows
            ],
        ),
        "Rows of each class: "
        + "; ".join(f"{name} {', '.join(map(str, c))}" for name, c in board.tables.items())
        + ".",
        table_of(
            ["recipe", *(OF[name].label for name in others), "rows", "s", "MB"],
            [
                [
                    recipe_cell(row.recipe, []),
                    *(_value(row, name) for name in others),
                    number(row.cost.passes, "{:.2f}"),
                    number(row.cost.seconds, "{:.3f}"),
                    number(row.cost.peak_memory_mb, "{:.1f}"),
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
            "*s*: seconds that a cell's fits with one learner took; *MB*: memory above the idle "
            "process; both medians",
        ),
        "\n".join(
            f"- {code(row.recipe)}: {plain(note)}" for row in board.rows for note in row.notes
        ),
        "\n".join(
            f"- Seconds and memory were measured on {plain(machine)}." for machine in board.machines
        ),
        f"Protocol {board.protocol} version {board.version}, hash `{board.hash}`.",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _first_table(rows: list[Compared], ranking: Measure, ranked: bool) -> str:
    if not rows:
        return ""
    over = [f"over {PLAIN}", f"over {TUNED}", *(["rank"] if ranked else [])]
    return table_of(
        ["recipe", OF["f1"].label, *over, *(OF[name].label for name in FIRST[1:]), "cost"],
        [
            [
                recipe_cell(row.recipe, row.notes) + _marks(row),
                _value(row, "f1"),
                _difference(ranking, row.over_plain),
                _difference(ranking, row.over_tuned),
                *([_average_rank(row)] if ranked else []),
                *(_value(row, name) for name in FIRST[1:]),
                number(row.cost.relative, "{:.2f}x"),
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
    marks = "" if row.over_tuned is None or row.over_tuned.better else " †"
    if row.brier_over_plain is not None and row.brier_over_plain >= UNCALIBRATED:
        marks += " ‡"
    return marks


def _value(row: Compared, name: str) -> str:
    return measured(OF[name], row.metrics[name], bounds=False)


def _mean(measure: Measure, value: float | None) -> str:
    return measured(measure, Mean(value, None, None))


def _difference(ranking: Measure, against: Against | None) -> str:
    return measured(ranking, against.difference if against else None, sign="+")


def _record(against: Against | None) -> str:
    return DASH if against is None else f"{against.won}/{against.tied}/{against.lost}"


def _average_rank(row: Compared) -> str:
    return DASH if row.average_rank is None else f"{row.average_rank:.1f} {row.group}"


def frame(board: Comparison) -> "pandas.DataFrame":
    """A row for each recipe; intervals stand in columns that end in _low and _high."""
    import pandas

    ranking = ranking_of(board.ranking).name
    return pandas.DataFrame([_flat(row, ranking) for row in board.rows])


def _flat(row: Compared, ranking: str) -> dict[str, Any]:
    flat: dict[str, Any] = {"recipe": row.recipe, "whole": row.whole}
    flat |= {name: mean.mean for name, mean in row.metrics.items()}
    for name, against in ((PLAIN, row.over_plain), (TUNED, row.over_tuned)):
        gap = against.difference if against else Mean(None, None, None)
        flat |= {
            f"over_{name}": gap.mean,
            f"over_{name}_low": gap.low,
            f"over_{name}_high": gap.high,
        }
        for outcome in ("won", "tied", "lost"):
            flat[f"{outcome}_against_{name}"] = getattr(against, outcome) if against else None
    flat["brier_over_erm"] = row.brier_over_plain
    flat |= {"average_rank": row.average_rank, "group": row.group}
    flat |= {f"{ranking}_with_{name}": value for name, value in row.by_learner.items()}
    flat |= {f"{ranking}_on_{name}": value for name, value in row.by_table.items()}
    return {**flat, **msgspec.to_builtins(row.cost), **row.status}
