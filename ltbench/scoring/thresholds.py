"""Thresholds: offsets of the scores at which a decision is best on rows that were held out."""

import numpy as np

from ltbench.scoring.metrics import OF_COUNTS, Counts, Floats, Integers, OfCounts, counted

ROUNDS = 50  # over the classes, at most; most searches end within five


def best_offsets(
    scores: Floats, labels: Integers, metric: str = "f1", positive: int | None = None
) -> Floats:
    """Numbers [C] to add to scores [N, C] before the largest decides, so that `metric` is best.

    Where one of two classes is `positive`, its offset alone is searched: a threshold. Else one
    class after the other is moved, the others held, until none gains. Every offset at which a label
    changes is looked at; among equals the one nearest to 0 is taken, and 0 itself where nothing is
    better. `metric` is one of `metrics.OF_COUNTS`.
    """
    value = OF_COUNTS[metric]
    offsets = np.zeros(scores.shape[1])
    best = value(counted(labels, scores.argmax(axis=1), scores.shape[1]), positive)[()]
    classes = range(scores.shape[1]) if positive is None else [positive]
    for _ in range(ROUNDS if positive is None else 1):
        before = best
        for c in classes:
            shifts, values = _moved(scores + offsets, labels, c, value, positive)
            gain = values.max(initial=-np.inf)
            if gain > best + 1e-12:
                equal = np.abs(offsets[c] + shifts[values > gain - 1e-12])
                offsets[c] += shifts[values > gain - 1e-12][equal.argmin()]
                best = gain
        if best == before:
            break
    return offsets


def _moved(
    scores: Floats, labels: Integers, c: int, value: OfCounts, positive: int | None
) -> tuple[Floats, Floats]:
    """Shifts of class c's scores between those at which a row changes sides, and their values."""
    rows, num_classes = scores.shape
    others = scores.copy()
    others[:, c] = -np.inf
    rival = others.argmax(axis=1)
    needed = others[np.arange(rows), rival] - scores[:, c]  # c wins a row from this shift on
    order = needed.argsort(kind="stable")
    needed, rival, truth = needed[order], rival[order], labels[order]
    lost = np.eye(num_classes)[rival]
    hits = np.eye(num_classes)[truth] * ((truth == c) * 1.0 - (truth == rival))[:, None]
    start_predicted = np.bincount(rival, minlength=num_classes)
    start_hits = np.bincount(truth[truth == rival], minlength=num_classes)
    none = np.zeros((1, num_classes))
    predicted = start_predicted - np.concatenate([none, np.cumsum(lost, axis=0)])
    predicted[:, c] += np.arange(rows + 1)
    gained = start_hits + np.concatenate([none, np.cumsum(hits, axis=0)])
    edges = np.concatenate([needed[:1] - 1, needed, needed[-1:] + 1])
    between = np.flatnonzero(np.diff(edges) > 0)  # rows of one need move together
    shifts = (edges[between] + edges[between + 1]) / 2
    rows_of = np.bincount(labels, minlength=num_classes).astype(np.float64)
    actual = np.broadcast_to(rows_of, predicted.shape)
    return shifts, value(Counts(gained[between], predicted[between], actual[between]), positive)
