"""A leaderboard as Markdown, CSV, JSON or a pandas frame; the same records give the same bytes."""

from textwrap import wrap
from typing import TYPE_CHECKING, Any

import msgspec
from tabulate import tabulate

from ltbench.agnostic import SPLITS, Agnostic
from ltbench.leaderboards import REFERENCE, Leaderboard, Mean, Row

if TYPE_CHECKING:
    import pandas

DASH = "–"
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
    "relative_accuracy": "*relative*: accuracy over the better of what plain training and the "
    "method itself reach on a balanced set of the same size",
}
BESIDE = ("many", "medium", "few", "worst_class")  # the metrics that share the first table


def json(board: Leaderboard | Agnostic) -> str:
    return msgspec.json.format(msgspec.json.encode(board), indent=1).decode() + "\n"


def csv(board: Leaderboard) -> str:
    text: str = frame(board).to_csv(index=False, lineterminator="\n")
    return text


def frame(board: Leaderboard) -> "pandas.DataFrame":
    """A row for each recipe; intervals stand in columns that end in _low and _high."""
    import pandas

    return pandas.DataFrame([_flat(row) for row in board.rows])


def _flat(row: Row) -> dict[str, Any]:
    best, worst = row.rank or (None, None)
    flat: dict[str, Any] = {"recipe": row.recipe, "rank_best": best, "rank_worst": worst}
    for name, mean in {**row.metrics, "delta": row.delta or Mean(None, None, None)}.items():
        flat |= {name: mean.mean, f"{name}_low": mean.low, f"{name}_high": mean.high}
    return {**flat, **msgspec.to_builtins(row.cost), **row.status}


def markdown(board: Leaderboard) -> str:
    """The tables in percent, and what one needs to know to read them."""
    ranking, *others = board.metrics
    beside = [name for name in others if name in BESIDE]
    below = [name for name in others if name not in BESIDE]
    if any(row.metrics["relative_accuracy"].mean is not None for row in board.rows):
        below.append("relative_accuracy")
    blocks = [
        f"# {board.protocol}",
        board.description,
        _table(
            ["rank", "recipe", _label(ranking), f"over {REFERENCE}", *map(_label, beside), "cost"],
            [
                [
                    _rank(row),
                    _name(row),
                    _percent(row.metrics[ranking]),
                    _percent(row.delta if row.recipe != REFERENCE else None, sign="+"),
                    *(_percent(row.metrics[name], bounds=False) for name in beside),
                    _number(row.cost.relative, "{:.2f}x"),
                ]
                for row in board.rows
            ],
        ),
        _legend(
            "In percent: means over seeds with 95 % intervals",
            f"*over {REFERENCE}*: the difference in {_label(ranking)} to plain training with the "
            "same seeds",
            "rows share a rank if the 95 % interval of their paired difference includes zero",
            *_explained(beside),
            "*cost*: processor time (on a GPU, time) of preparation and training in units of plain "
            "training, which is timed around each cell in the same process",
        ),
        _table(
            ["recipe", *map(_label, below), "passes", "s", "MB", "cells"],
            [
                [
                    _name(row),
                    *(_percent(row.metrics[name], bounds=False) for name in below),
                    _number(row.cost.passes, "{:.2f}"),
                    _number(row.cost.seconds, "{:.2f}"),
                    _number(row.cost.peak_memory_mb, "{:.1f}"),
                    ", ".join(f"{n} {status}" for status, n in row.status.items() if n),
                ]
                for row in board.rows
            ],
        ),
        _legend(
            *_explained(below),
            "*passes*: rows whose gradient was computed, in units of plain training",
            "*s*: seconds of preparation and training",
            "*MB*: memory above the idle process",
        ),
        *_transductive(board, ranking),
        "\n".join(f"- `{row.recipe}`: {note}" for row in board.rows for note in row.notes),
        "\n".join(
            f"- Seconds and memory were measured on {machine}." for machine in board.machines
        ),
        f"Protocol {board.protocol} version {board.version}, hash `{board.hash}`.",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _explained(metrics: list[str]) -> list[str]:
    return [EXPLAINED[name] for name in metrics if name in EXPLAINED]


def _legend(*parts: str) -> str:
    return "\n".join(wrap("; ".join(parts) + ".", width=100, break_long_words=False))


def agnostic(table: Agnostic) -> str:
    """Accuracy on test splits with a tail of their own, in percent."""
    short = [f"{name[0].upper()}{name.partition('-')[2]}" for name in SPLITS]
    rows = [
        [f"`{row.recipe}`", *(_percent(row.accuracy[name], bounds=False) for name in SPLITS)]
        for row in table.rows
    ]
    blocks = [
        f"# {table.protocol}, test-agnostic",
        _table(["recipe", *short], rows),
        _legend(
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
        [_name(row), _percent(row.transductive[ranking])]
        for row in board.rows
        if row.transductive is not None
    ]
    if not rows:
        return []
    return [
        "After using the unlabelled test inputs:",
        _table(["recipe", _label(ranking)], rows),
    ]


def _table(headers: list[str], rows: list[list[str]]) -> str:
    align = ["left" if header == "recipe" else "right" for header in headers]
    text: str = tabulate(rows, headers, tablefmt="pipe", colalign=align, disable_numparse=True)
    return text


def _label(metric: str) -> str:
    return LABELS.get(metric, metric)


def _name(row: Row) -> str:
    """The recipe; a star says that a note on it stands below."""
    recipe = row.recipe.replace("|", "\\|")
    return f"`{recipe}`" + (" \\*" if row.notes else "")


def _rank(row: Row) -> str:
    if row.rank is None:
        return DASH
    best, worst = row.rank
    return str(best) if best == worst else f"{best}–{worst}"


def _percent(mean: Mean | None, sign: str = "", bounds: bool = True) -> str:
    if mean is None or mean.mean is None:
        return DASH
    text = f"{100 * mean.mean:{sign}.1f}"
    if bounds and mean.high is not None:
        text += f" ± {100 * (mean.high - mean.mean):.1f}"
    return text


def _number(value: float | None, form: str) -> str:
    return DASH if value is None else form.format(value)
