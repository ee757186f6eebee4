"""What the test rows add to an interval over seeds that are all scored on the same rows."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from ltbench.boards.leaderboard import Leaderboard
from ltbench.contract.track import Track
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.results.records import Record, arrays_of
from ltbench.scoring.statistics import Floats, rounded

EXPLAINED = ("balanced_accuracy", "accuracy")
"""The measures that are means over test rows."""


def row_errors(
    track: Track[Any],
    protocol: Protocol,
    reference: str,
    records: Sequence[Record],
    results: Path,
) -> dict[str, float]:
    """The standard error that the test rows give each recipe's difference to the reference.

    It is that part of which an interval over seeds knows nothing, so it is empty where seeds have
    test rows of their own, where predictions are not kept or fewer than two seeds are in common,
    and for a measure that is no mean over rows.
    """
    measure = track.shown(protocol)[0]
    if measure not in EXPLAINED or not _shared(protocol):
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


def _shared(protocol: Protocol) -> bool:
    """Whether all seeds have the source's own test split, not one that was cut for each."""
    data = getattr(protocol, "data", None)
    return data is not None and getattr(data, "test_per_class", 1) is None


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
    track: Track[Any],
    protocol: Protocol,
    board: Leaderboard,
    records: Sequence[Record],
    results: Path,
) -> Leaderboard:
    """A board whose rows tell what the test rows add to their differences."""
    errors = row_errors(track, protocol, board.reference, records, results)
    return structs.replace(
        board,
        rows=[
            structs.replace(row, delta_rows_error=rounded(errors[row.recipe]))
            if row.recipe in errors
            else row
            for row in board.rows
        ],
    )


def said(
    errors: Mapping[str, float], of_seeds: Mapping[str, float], written: Callable[[float], str]
) -> str:
    """What the test rows add, over all recipes; `of_seeds` are the standard errors that seeds give.

    `written` tells a difference in words.
    """
    common = [name for name in sorted(errors.keys() & of_seeds.keys()) if of_seeds[name] > 0]
    if not common:
        return ""
    rows = float(np.median([errors[name] for name in common]))
    share = float(np.median([errors[name] / of_seeds[name] for name in common]))
    return (
        "All seeds are scored on the same test rows, of whose choice intervals over seeds know "
        f"nothing: another test split would move a difference with a standard error of "
        f"{written(rows)}, which is {share:.2f} times that over seeds (medians over recipes)."
    )
