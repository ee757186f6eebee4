"""Metrics over tasks; pure functions, in float64."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ltbench.scoring.metrics import Floats, Integers, recalls


def task_accuracies(
    labels: Integers, predicted: NDArray[np.integer], known: Sequence[int]
) -> tuple[Floats, Floats]:
    """The mean recall [T, T] of the classes of each task after each, and [T] of all known ones.

    `labels` [N] are numbered by arrival and `predicted` [T, N] is what was said after each task,
    after which `known` [T] classes were. Of tasks to come it is NaN.
    """
    tasks = len(known)
    starts = [0, *known[:-1]]
    of_tasks, of_known = np.full((tasks, tasks), np.nan), np.full(tasks, np.nan)
    for after, classes in enumerate(known):
        seen = labels < classes
        recall = recalls(labels[seen], predicted[after][seen], classes)
        of_known[after] = np.nanmean(recall)
        for task in range(after + 1):
            of_tasks[after, task] = np.nanmean(recall[starts[task] : known[task]])
    return of_tasks, of_known


def scored_tasks(
    labels: Integers, predicted: NDArray[np.integer], known: Sequence[int]
) -> dict[str, float | None]:
    """Every measure over tasks by name; what needs an earlier task is None where there is none.

    Forgetting is that of FACIL: for each task but the last, how far the best it had before the last
    one lies above what is left of it, a mean over those tasks.
    """
    of_tasks, of_known = task_accuracies(labels, predicted, known)
    told: dict[str, float | None] = {
        "average_incremental": float(of_known.mean()),
        "last": float(of_known[-1]),
        "forgetting": None,
        "old": None,
        "new": float(of_tasks[-1, -1]),
    }
    if len(known) > 1:
        best = np.nanmax(of_tasks[:-1, :-1], axis=0)
        told["forgetting"] = float((best - of_tasks[-1, :-1]).mean())
        old = labels < known[-2]
        recall = recalls(labels[old], predicted[-1][old], known[-2])
        told["old"] = float(np.nanmean(recall))
    return told
