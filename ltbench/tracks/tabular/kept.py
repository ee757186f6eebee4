"""What is kept of the decisions of learners, and which measures follow from it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ltbench.contract.track import Arrays, Followed, around
from ltbench.results.records import Record
from ltbench.scoring import codes
from ltbench.scoring.metrics import OF_COUNTS, counted, f_score
from ltbench.tracks.tabular.folds import FOLDS, stratified
from ltbench.tracks.tabular.measures import NAMES
from ltbench.tracks.tabular.parts import means, parts_of
from ltbench.tracks.tabular.problem import Tabular

EXACT = 1e-9  # by which a number made again may differ, whatever the order of its sums


@dataclass(frozen=True)
class Decided:
    """Of the rows of a fold [N]: the labels given to them, those at tuned thresholds, and the
    probabilities [N, C]."""

    predicted: NDArray[np.int64]
    tuned: NDArray[np.int64]
    probabilities: NDArray[np.float64]


def arrays_of(
    labels: NDArray[np.int64],
    positive: int | None,
    seed: int,
    decided: Sequence[Sequence[Decided]],
) -> Arrays | None:
    """The decisions of the learners that were fitted, in the order of all rows of a table.

    `labels` [N], `predicted` and `tuned` [learners, N], and `codes` [learners, N, C], or of two
    classes [learners, N, 1], of probabilities (`scoring.codes`). Rows that are in no fold have 0.
    `positive` [0 or 1] holds the class that F1 is of. None where no learner was fitted.
    """
    if not decided:
        return None
    place = stratified(labels, FOLDS, seed)
    integer = np.min_scalar_type(labels.max())

    def over_rows(parts: Sequence[NDArray[np.integer]]) -> NDArray[np.integer]:
        whole = np.zeros((len(labels), *parts[0].shape[1:]), dtype=parts[0].dtype)
        for k, part in enumerate(parts):
            whole[place == k] = part
        return whole

    predicted = [over_rows([fold.predicted for fold in folds]) for folds in decided]
    tuned = [over_rows([fold.tuned for fold in folds]) for folds in decided]
    coded = [over_rows([codes.coded(fold.probabilities) for fold in folds]) for folds in decided]
    return {
        "labels": labels.astype(integer),
        "positive": np.array([] if positive is None else [positive], dtype=integer),
        "predicted": np.stack(predicted).astype(integer),
        "tuned": np.stack(tuned).astype(integer),
        "codes": np.stack(coded),
    }


def measured(protocol: Tabular, record: Record, arrays: Arrays) -> Followed:
    """The measures that follow from what a record keeps, the mean over learners and folds.

    Those of decisions follow to the bit but for the order of sums, those of scores within the
    bounds of their codes; the calibration error cannot be told from these. Of older records, which
    keep no decisions, the means of what their parts tell follow.
    """
    parts = parts_of(record)
    told = means(parts.values())
    if not arrays:
        return {name: around(value, EXACT) for name, value in told.items()}
    labels = arrays["labels"].astype(np.int64)
    place = stratified(labels, FOLDS, record.seed)
    positive = next(iter(arrays["positive"].tolist()), None)
    found: dict[str, list[tuple[float, float] | None]] = {name: [] for name in NAMES}
    for predicted, tuned, code in zip(
        arrays["predicted"], arrays["tuned"], arrays["codes"], strict=True
    ):
        for k in range(FOLDS):
            rows = place == k
            one = of_fold(
                labels[rows],
                predicted[rows].astype(np.int64),
                tuned[rows].astype(np.int64),
                code[rows],
                positive,
            )
            for name, bounds in one.items():
                found[name].append(bounds)
    return {name: _mean(every) for name, every in found.items() if every}


def of_fold(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    tuned: NDArray[np.int64],
    code: NDArray[np.uint8],
    positive: int | None,
) -> dict[str, tuple[float, float] | None]:
    """What can be told of each measure of one learner on one fold."""
    classes = max(2, code.shape[1])
    counts, at_tuned = (counted(labels, one, classes) for one in (predicted, tuned))
    return {
        **{n: around(float(value(counts, positive)), EXACT) for n, value in OF_COUNTS.items()},
        "f1_tuned": around(float(f_score(at_tuned, positive)), EXACT),
        "auc": codes.auc_bounds(labels, code),
        "average_precision": codes.average_precision_bounds(labels, code, positive),
        "brier": codes.brier_bounds(labels, code),
        "log_loss": codes.log_loss_bounds(labels, code),
    }


def _mean(every: Sequence[tuple[float, float] | None]) -> tuple[float, float] | None:
    """The mean of what can be told over learners and folds; of folds without it, none."""
    there = [bounds for bounds in every if bounds is not None]
    if not there:
        return None
    low, high = np.mean(there, axis=0).tolist()
    return low - EXACT, high + EXACT
