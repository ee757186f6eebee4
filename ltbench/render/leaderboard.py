"""A leaderboard as Markdown or a pandas frame."""

from typing import TYPE_CHECKING, Any

import msgspec

from ltbench.agnostic import SPLITS, Agnostic
from ltbench.leaderboards import REFERENCE, WHOLE, Contrast, Leaderboard, Mean, Row
from ltbench.render.words import DASH, code, legend, number, percent, plain, recipe_cell, table_of
from ltbench.stability import HARSH, MILD, Stability

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
    "twin": "balanced twin",
    "imbalance_loss": "imbalance loss",
}
EXPLAINED = {
    "many": "*many*, *medium*, *few*: mean recall of the classes with that many training rows",
    "worst_class": "*worst*: recall of the worst class",
    "g_mean": "*G-mean*: geometric mean of the recalls",
    "macro_f1": "*F1*: mean over classes",
    "macro_auc": "*AUC*: area under the ROC curve, mean over classes, each against the rest",
    "expected_calibration_error": "*ECE*: expected calibration error in 15 bins, lower is better",
    "retention": f"*retention*: accuracy over that of `{WHOLE}`, the whole set, with the same seed",
    "twin": "*balanced twin*: the same with as many rows, balanced",
    "imbalance_loss": "*imbalance loss*: what the balanced twin has more",
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
    made = msgspec.to_builtins(row.distilled or row.compressed) or {}
    told = {key: value for key, value in made.items() if key != "twin"}
    return {**flat, **msgspec.to_builtins(row.cost), **told, **row.status}


def markdown(board: Leaderboard) -> str:
    """The tables in percent, and what one needs to know to read them."""
    ranking, *others = board.metrics
    reference, distilling = board.reference, any(row.distilled for row in board.rows)
    beside = [name for name in others if name in BESIDE]
    below = [name for name in others if name not in BESIDE]
    doing, of_what = "preparation and training", ""
    if distilling:
        beside.append("retention")
        doing, of_what = "distilling", " on the whole set"
    if any(row.compressed for row in board.rows):
        beside += ["twin", "imbalance_loss"]
        doing, of_what = "compressing and recovery", " of the whole network on the same rows"
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
            f"{'it' if reference != REFERENCE else 'plain training'} with the same seeds",
            "rows share a rank if the 95 % interval of their paired difference includes zero",
            *_explained(beside),
            f"*cost*: processor time (on a GPU, time) of {doing} in units of plain "
            f"training{of_what}, which is timed around each cell in the same process",
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
            f"*s*: seconds of {doing}",
            "*MB*: memory above the idle process",
        ),
        *_distilled(board),
        *_compressed(board),
        "\n".join(map(_contrast, board.contrasts)),
        *_transductive(board, ranking),
        *_quoted(board),
        "\n".join(
            f"- {code(row.recipe)}: {plain(note)}" for row in board.rows for note in row.notes
        ),
        "\n".join(
            f"- Seconds and memory were measured on {plain(machine)}." for machine in board.machines
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
    return [table, explained]


def _compressed(board: Leaderboard) -> list[str]:
    """How small the networks became, and how like their teacher."""
    made = [(row, row.compressed) for row in board.rows if row.compressed is not None]
    if not made:
        return []
    table = table_of(
        ["recipe", "parameters", "MACs", "of the teacher's", "latency", "agreement", "twin s"],
        [
            [
                recipe_cell(row.recipe, []),
                f"{told.parameters:,}",
                f"{told.macs:,}",
                f"{100 * told.parameters / told.teacher_parameters:.0f} %, "
                f"{100 * told.macs / told.teacher_macs:.0f} %",
                number(told.latency, "{:.2f}x"),
                f"{100 * told.agreement:.1f}",
                number(told.twin_seconds, "{:.2f}"),
            ]
            for row, told in made
        ],
    )
    explained = legend(
        "Rows without a rank are controls: they are no smaller than the teacher",
        "*MACs*: multiply-accumulate operations for a row",
        "*latency*: time over that of the teacher, measured in turns, of a batch of up to 64",
        "*agreement*: test rows that are labelled as the teacher does, in percent",
        "*twin s*: seconds of compressing and recovery on the balanced rows",
    )
    return [table, explained]


def _contrast(contrast: Contrast) -> str:
    gap = contrast.difference
    told = f"- {code(contrast.first)} over {code(contrast.second)}: {percent(gap, sign='+')}"
    if gap.low is None or gap.high is None or contrast.error is None:
        return f"{told}, of too few seeds to tell"
    told += f" (standard error {100 * contrast.error:.1f})"
    if contrast.recovered is not None:
        told += f", {100 * contrast.recovered:.0f} % of what imbalance costs the latter"
    if gap.low > 0:
        return f"{told}, a gain"
    return f"{told}, {'a loss' if gap.high < 0 else 'no difference shown'}"


def _explained(metrics: list[str]) -> list[str]:
    return [EXPLAINED[name] for name in metrics if name in EXPLAINED]


def agnostic(table: Agnostic) -> str:
    """Accuracy on test splits with a tail of their own, in percent."""
    short = [f"{name[0].upper()}{name.partition('-')[2]}" for name in SPLITS]
    rows = [
        [code(row.recipe), *(percent(row.accuracy[name], bounds=False) for name in SPLITS)]
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


def stability(table: Stability) -> str:
    """What each recipe loses as the tail grows longer, in percent."""
    rows = [
        [code(row.recipe), str(row.seeds), *map(percent, (row.mild, row.harsh, row.drop))]
        for row in table.rows
    ]
    blocks = [
        f"# {table.mild} to {table.harsh}",
        table_of(["recipe", "seeds", f"at factor {MILD}", f"at factor {HARSH}", "drop"], rows),
        legend(
            f"{_label(table.metric).capitalize()} in percent, means over the seeds that both "
            "protocols have, with 95 % intervals; that of the *drop* is of the paired difference",
            "the two protocols differ in their factor alone",
        ),
    ]
    return "\n\n".join(blocks) + "\n"


def _quoted(board: Leaderboard) -> list[str]:
    """Figures of others in a table of their own, beside what the same recipe reached here."""
    if not board.quoted:
        return []
    here = {row.recipe: row for row in board.rows}
    rows = [
        [
            code(method) if method in here else plain(method),
            " ± ".join(f"{value:.1f}" for value in told),
            percent(here[method].metrics["accuracy"]) if method in here else DASH,
            f"[{number}]",
        ]
        for number, source in enumerate(board.quoted, 1)
        for method, told in source.accuracy.items()
    ]
    sources = [
        f"- [{number}] {plain(source.reference)}, {plain(source.place)}: {plain(source.conditions)}"
        for number, source in enumerate(board.quoted, 1)
    ]
    return [
        "Quoted, not measured here:",
        table_of(["method", "accuracy as quoted", "measured here", "source"], rows),
        legend(
            "Accuracy in percent as others published it, with the spread over their repeats where "
            "they told it; no rank is given, as their conditions differ from the protocol's",
            "*measured here*: the same recipe in the table above, with a 95 % interval",
        ),
        "\n".join(sources),
    ]


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
