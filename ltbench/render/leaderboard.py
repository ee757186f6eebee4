"""A leaderboard as Markdown or a pandas frame."""

from typing import TYPE_CHECKING, Any

import msgspec

from ltbench.agnostic import SPLITS, Agnostic
from ltbench.leaderboards import WHOLE, Contrast, Leaderboard, Mean, Row
from ltbench.render.words import DASH, legend, number, percent, recipe_cell, table_of

if TYPE_CHECKING:
    import pandas

LABELS = {
    "balanced_accuracy": "balanced accuracy",
    "worst_class": "worst",
    "g_mean": "G-mean",
    "macro_f1": "F1",
    "macro_auc": "AUC",
    "expected_calibration_error": "ECE",
    "relative_accuracy": "relative",
}
EXPLAINED = {
    "many": "*many*, *medium*, *few*: mean recall of the classes with that many training rows",
    "worst_class": "*worst*: recall of the worst class",
    "g_mean": "*G-mean*: geometric mean of the recalls",
    "macro_f1": "*F1*: mean over classes",
    "macro_auc": "*AUC*: area under the ROC curve, mean over classes, each against the rest",
    "expected_calibration_error": "*ECE*: expected calibration error in 15 bins, lower is better",
    "retention": f"*retention*: accuracy over that of `{WHOLE}`, the whole set, with the same seed",
    "relative_accuracy": "*relative*: accuracy over the better of what plain training and the "
    "method itself reach on a balanced set of the same size",
}
BESIDE = ("many", "medium", "few", "worst_class")  # the metrics that share the first table


def frame(board: Leaderboard) -> "pandas.DataFrame":
    """A row for each recipe; intervals stand in columns that end in _low and _high."""
    import pandas

    return pandas.DataFrame([_flat(row) for row in board.rows])


def _flat(row: Row) -> dict[str, Any]:
    best, worst = row.rank or (None, None)
    flat: dict[str, Any] = {"recipe": row.recipe, "rank_best": best, "rank_worst": worst}
    for name, mean in {**row.metrics, "delta": row.delta or Mean(None, None, None)}.items():
        flat |= {name: mean.mean, f"{name}_low": mean.low, f"{name}_high": mean.high}
    distilled = msgspec.to_builtins(row.distilled) if row.distilled else {}
    return {**flat, **msgspec.to_builtins(row.cost), **distilled, **row.status}


def markdown(board: Leaderboard) -> str:
    """The tables in percent, and what one needs to know to read them."""
    ranking, *others = board.metrics
    reference, distilling = board.reference, any(row.distilled for row in board.rows)
    beside = [name for name in others if name in BESIDE]
    below = [name for name in others if name not in BESIDE]
    if distilling:
        beside.append("retention")
    if any(row.metrics["relative_accuracy"].mean is not None for row in board.rows):
        below.append("relative_accuracy")
    blocks = [
        f"# {board.protocol}",
        board.description,
        table_of(
            ["rank", "recipe", _label(ranking), f"over {reference}", *map(_label, beside), "cost"],
            [
                [
                    _rank(row),
                    recipe_cell(row.recipe, row.notes),
                    percent(row.metrics[ranking]),
                    percent(row.delta if row.recipe != reference else None, sign="+"),
                    *(percent(row.metrics[name], bounds=False) for name in beside),
                    number(row.cost.relative, "{:.2f}x"),
                ]
                for row in board.rows
            ],
        ),
        legend(
            "In percent: means over seeds with 95 % intervals",
            f"*over {reference}*: the difference in {_label(ranking)} to "
            f"{'it' if distilling else 'plain training'} with the same seeds",
            "rows share a rank if the 95 % interval of their paired difference includes zero",
            *_explained(beside),
            "*cost*: processor time (on a GPU, time) of "
            f"{'distilling' if distilling else 'preparation and training'} in units of plain "
            f"training{' on the whole set' * distilling}, which is timed around each cell in the "
            "same process",
        ),
        table_of(
            ["recipe", *map(_label, below), "passes", "s", "MB", "cells"],
            [
                [
                    recipe_cell(row.recipe, row.notes),
                    *(percent(row.metrics[name], bounds=False) for name in below),
                    number(row.cost.passes, "{:.2f}"),
                    number(row.cost.seconds, "{:.2f}"),
                    number(row.cost.peak_memory_mb, "{:.1f}"),
                    ", ".join(f"{n} {status}" for status, n in row.status.items() if n),
                ]
                for row in board.rows
            ],
        ),
        legend(
            *_explained(below),
            "*passes*: rows whose gradient was computed, in units of plain training",
            f"*s*: seconds of {'distilling' if distilling else 'preparation and training'}",
            "*MB*: memory above the idle process",
        ),
        *_distilled(board),
        *_transductive(board, ranking),
        "\n".join(f"- `{row.recipe}`: {note}" for row in board.rows for note in row.notes),
        "\n".join(
            f"- Seconds and memory were measured on {machine}." for machine in board.machines
        ),
        f"Protocol {board.protocol} version {board.version}, hash `{board.hash}`.",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _distilled(board: Leaderboard) -> list[str]:
    """What was stored, and which recipes can be told apart."""
    stored = [(row, row.distilled) for row in board.rows if row.distilled is not None]
    if not stored:
        return []
    networks = max(told.networks for _, told in stored)
    table = table_of(
        ["recipe", "images", "repeated", "bytes", "evaluation s"],
        [
            [
                recipe_cell(row.recipe, []),
                number(told.images, "{:d}"),
                number(told.duplicates, "{:d}"),
                number(told.bytes, "{:d}"),
                number(told.evaluation_seconds, "{:.2f}"),
            ]
            for row, told in stored
        ],
    )
    explained = legend(
        "Rows without a rank are controls: they keep more than the budget allows",
        "*repeated*: images that are the same as another of their class",
        f"*evaluation s*: training {networks} fresh networks on the images and scoring them",
        f"a seed is one distilled set, scored by the mean of its {networks} networks",
    )
    return [table, explained, "\n".join(map(_contrast, board.contrasts))]


def _contrast(contrast: Contrast) -> str:
    gap = contrast.difference
    told = f"- `{contrast.first}` over `{contrast.second}`: {percent(gap, sign='+')}"
    if gap.low is None or gap.high is None or contrast.error is None:
        return f"{told}, of too few seeds to tell"
    told += f" (standard error {100 * contrast.error:.1f})"
    if gap.low > 0:
        return f"{told}, a gain"
    return f"{told}, {'a loss' if gap.high < 0 else 'no difference shown'}"


def _explained(metrics: list[str]) -> list[str]:
    return [EXPLAINED[name] for name in metrics if name in EXPLAINED]


def agnostic(table: Agnostic) -> str:
    """Accuracy on test splits with a tail of their own, in percent."""
    short = [f"{name[0].upper()}{name.partition('-')[2]}" for name in SPLITS]
    rows = [
        [f"`{row.recipe}`", *(percent(row.accuracy[name], bounds=False) for name in SPLITS)]
        for row in table.rows
    ]
    blocks = [
        f"# {table.protocol}, test-agnostic",
        table_of(["recipe", *short], rows),
        legend(
            "Accuracy in percent on test splits with a tail of their own, from stored "
            "predictions, mean over seeds; F50: the classes with most training rows also have "
            "most test rows, 50 times those of the last; U: uniform; B: the other way round "
            "(arXiv:2107.09249)",
            "a method that uses test inputs stands here as it is before it does",
        ),
    ]
    return "\n\n".join(blocks) + "\n"


def _transductive(board: Leaderboard, ranking: str) -> list[str]:
    """Rows that used unlabelled test inputs stand apart, never among the others."""
    rows = [
        [recipe_cell(row.recipe, row.notes), percent(row.transductive[ranking])]
        for row in board.rows
        if row.transductive is not None
    ]
    if not rows:
        return []
    return [
        "After using the unlabelled test inputs:",
        table_of(["recipe", _label(ranking)], rows),
    ]


def _label(metric: str) -> str:
    return LABELS.get(metric, metric)


def _rank(row: Row) -> str:
    if row.rank is None:
        return DASH
    best, worst = row.rank
    return str(best) if best == worst else f"{best}–{worst}"
