"""What is kept of scores, which boxes are right, and average precision; no loop over any of them.

A loop goes over the places of one picture, as each depends on those before: pictures and classes
are done together.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ltbench.results.records import Scores
from ltbench.scoring.metrics import shot_groups
from ltbench.tracks.detection.boxes import Boxes, Floats, Integers, by_picture, overlaps
from ltbench.tracks.detection.problem import Keep

RIGHT = 0.5  # of intersection over union with a box of the truth
POINTS = 100  # into which recall is divided: precision is read at 101 of them
AT_ONCE = 2**23  # scores of pictures that are looked at together

Truths = NDArray[np.bool_]


def kept(scores: Floats, proposals: Boxes, pictures: int, keep: Keep) -> Boxes:
    """The boxes that are kept of `scores` [P, C], probabilities, with classes; the best first.

    Of equal scores the earlier proposal is the better one, and of one proposal the earlier class.
    """
    table = by_picture(proposals.pictures, pictures)
    rows = max(1, AT_ONCE // (table.shape[1] * scores.shape[1]))
    parts = [
        _best(scores, proposals.corners, table[start : start + rows], keep)
        for start in range(0, pictures, rows)
    ]
    which, label = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(-scores[which, label], kind="stable")
    found = proposals[which[order]]
    return Boxes(found.pictures, found.corners, label[order])


def _best(
    scores: Floats, corners: Floats, table: Integers, keep: Keep
) -> tuple[Integers, Integers]:
    """Proposals and classes that are kept in some pictures, from the best down in each."""
    pictures, classes = len(table), scores.shape[1]
    held = table >= 0
    left = np.where(held[..., None], scores[table], -1.0)
    left[left < keep.floor] = -1.0
    places, at = corners[table], np.arange(pictures)
    which, labels = [], []
    for _ in range(keep.most):
        best = left.reshape(pictures, -1).argmax(axis=1)
        place, label = best // classes, best % classes
        there = left[at, place, label] > 0
        if not there.any():
            break
        near = overlaps(places[at, place][:, None], places) > keep.overlap
        near[at, place] = True
        picture, other = near.nonzero()
        left[picture, other, label[picture]] = -1.0
        which.append(np.where(there, table[at, place], -1))
        labels.append(label)
    if not which:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    found, told = np.stack(which, axis=1).ravel(), np.stack(labels, axis=1).ravel()
    return found[found >= 0], told[found >= 0]


def right(found: Boxes, truth: Boxes, pictures: int) -> Truths:
    """Whether each box [D], the best first, is one of the truth.

    In their order each takes the box of its class that it overlaps most of those that none has
    taken, if it does by half or more.
    """
    mine, theirs = by_picture(found.pictures, pictures), by_picture(truth.pictures, pictures)
    free, at = theirs >= 0, np.arange(pictures)
    hits = np.zeros(len(found), dtype=bool)
    if not len(found) or not len(truth):
        return hits
    corners, labels = truth.corners[theirs], truth.labels[theirs]
    for column in mine.T:
        told = column >= 0
        alike = overlaps(found.corners[column][:, None], corners)
        alike[~free | (labels != found.labels[column][:, None])] = -1.0
        best = alike.argmax(axis=1)
        taken = told & (alike[at, best] >= RIGHT)
        hits[column[taken]] = True
        free[at[taken], best[taken]] = False
    return hits


def average_precisions(hits: Truths, labels: Integers, total: Integers) -> Floats:
    """The average precision [C] of boxes [D], the best first, of `total` [C] boxes of the truth.

    As COCO has it: the mean, over 101 points of recall from 0 to 1, of the best precision at that
    recall or a higher one, 0 where it is not reached. NaN for a class without boxes of the truth.
    """
    classes = len(total)
    order = np.argsort(labels, kind="stable")
    hit, label = hits[order], labels[order]
    number = np.bincount(labels, minlength=classes)
    found = np.bincount(label[hit], minlength=classes)
    before = found.cumsum() - found
    rank = np.arange(len(order)) - (number.cumsum() - number)[label] + 1
    precision = (hit.cumsum() - before[label]) / rank
    shift = 2.0 * (classes - 1 - label)  # so that no maximum reaches into the class before
    best = np.maximum.accumulate((precision + shift)[::-1])[::-1] - shift
    at_hits = np.append(best[hit], 0.0)
    wanted = np.maximum(-(-np.arange(POINTS + 1) * total[:, None] // POINTS), 1)
    place = np.where(wanted <= found[:, None], before[:, None] + wanted - 1, -1)
    mean = at_hits[place].mean(axis=1)
    return np.where(total > 0, mean, np.nan)


def recalls(hits: Truths, labels: Integers, total: Integers) -> Floats:
    """The share [C] of the boxes of the truth that are found; NaN where there are none."""
    found = np.bincount(labels[hits], minlength=len(total))
    return np.where(total > 0, found / np.maximum(total, 1), np.nan)


def scored(
    precision: Floats,
    recall: Floats,
    images: Sequence[int],
    shot_splits: tuple[int, int],
    clustered: Sequence[bool],
) -> Scores:
    """Every measure of a cell by name, of average precision and recall [C].

    `images` [C] are the training pictures of each class, by which many, medium and few are told,
    `clustered` [C] tells which lie around a point, and is empty where nobody knows.
    """
    around = np.asarray(clustered, dtype=bool)
    places = {"uniform": ~around, "clustered": around} if len(around) else {}
    return {
        "ap": _mean(precision),
        **shot_groups(precision, images, shot_splits),
        **dict.fromkeys(("uniform", "clustered")),
        **{name: _mean(precision[group]) for name, group in places.items()},
        "average_recall": _mean(recall),
        "few_recall": shot_groups(recall, images, shot_splits)["few"],
    }


def _mean(values: Floats) -> float | None:
    told = values[~np.isnan(values)]
    return float(told.mean()) if len(told) else None
