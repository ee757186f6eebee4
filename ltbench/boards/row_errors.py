"""What the test rows add to an interval over seeds that are all scored on the same rows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from ltbench.boards.leaderboard import Leaderboard
from ltbench.contract.track import Track
from ltbench.errors import LTBenchError
from ltbench.results.records import Record, arrays_of
from ltbench.scoring.statistics import Floats, rounded

EXPLAINED = ("balanced_accuracy", "accuracy")
"""The measures that are means over test rows."""


def row_errors(
    track: Track[Any], measure: str, reference: str, records: Sequence[Record], results: Path
) -> dict[str, float]:
    """The standard error that the test rows give each recipe's difference to the reference.

    It is that part of which an interval over seeds knows nothing, so it is empty where seeds have
    test rows of their own, where predictions are not kept or fewer than two seeds are in common,
    and for a measure that is no mean over rows.
    """
    if measure not in EXPLAINED:
        return {}
    labels, right = _right(track, records, results)
    if labels is None or reference not in right:
        return {}
    plain, found = right[reference], {}
    for recipe, own in right.items():
        seeds = sorted(own.keys() & plain.keys())
        if recipe != reference and len(seeds) > 1:
            gaps = np.stack([own[seed] - plain[seed] for seed in seeds])
            found[recipe] = error_of(gaps, labels, balanced=measure == "balanced_accuracy")
    return found


def error_of(gaps: Floats, labels: NDArray[Any], balanced: bool) -> float:
    """The standard error of a mean over seeds of gaps [seeds, N] that comes of the choice of rows.

    The variance between rows, less what the chance of training adds to it, for each class; classes
    count alike where that is `balanced`, else by their rows.
    """
    seeds, variance = len(gaps), 0.0
    middle, chance = gaps.mean(axis=0), gaps.var(axis=0, ddof=1)
    classes = np.unique(labels)
    for c in classes:
        of_class = labels == c
        n = int(of_class.sum())
        if n < 2:
            continue
        between = middle[of_class].var(ddof=1) - chance[of_class].mean() / seeds
        weight = 1 / len(classes) if balanced else n / len(labels)
        variance += weight**2 * max(float(between), 0.0) / n
    return float(np.sqrt(variance))


def _right(
    track: Track[Any], records: Sequence[Record], results: Path
) -> tuple[NDArray[Any] | None, dict[str, dict[int, Floats]]]:
    """The labels [N] that all seeds share, and by recipe and seed which rows were told rightly [N],
    as shares of the networks; no labels where seeds differ in them."""
    labels: NDArray[Any] | None = None
    right: dict[str, dict[int, Floats]] = {}
    for record in records:
        if not record.arrays or record.control:
            continue
        try:
            decided = track.decided(record, arrays_of(results, record))
        except LTBenchError:  # the file beside it is gone
            continue
        if decided is None:
            continue
        if labels is None:
            labels = decided[0]
        elif not np.array_equal(labels, decided[0]):
            return None, {}
        told = (np.atleast_2d(decided[1]) == labels).mean(axis=0)
        right.setdefault(record.recipe, {})[record.seed] = told
    return labels, right


def with_row_errors(
    track: Track[Any], board: Leaderboard, records: Sequence[Record], results: Path
) -> Leaderboard:
    """A board whose rows tell what the test rows add to their differences."""
    errors = row_errors(track, board.asked[0], board.reference, records, results)
    return structs.replace(
        board,
        rows=[
            structs.replace(row, delta_rows_error=rounded(errors[row.recipe]))
            if row.recipe in errors
            else row
            for row in board.rows
        ],
    )


def said(errors: Mapping[str, float], halves: Mapping[str, float], written: Any) -> str:
    """What the test rows add, over all recipes; `halves` are those of their intervals over seeds.

    `written` tells a difference in words.
    """
    common = sorted(errors.keys() & halves.keys())
    if not common:
        return ""
    rows = float(np.median([errors[name] for name in common]))
    both = [
        np.hypot(halves[name], 1.96 * errors[name]) / halves[name] - 1
        for name in common
        if halves[name] > 0
    ]
    wider = f", which would make the intervals {100 * np.median(both):.0f} % wider" if both else ""
    return (
        "All seeds are scored on the same test rows, of whose choice intervals over seeds know "
        f"nothing: other rows would move a difference with a standard error of {written(rows)} in "
        f"the median{wider}."
    )
