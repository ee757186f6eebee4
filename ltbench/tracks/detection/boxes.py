"""Boxes in pictures: which picture, which corners, which class; and how far two overlap."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Boxes:
    """Boxes: the place of the picture [M] of each, `corners` [M, 4] and `labels` [M].

    Corners are left, top, right and bottom, in pixels. Proposals, which have scores in the place of
    a label, have -1.
    """

    pictures: Integers
    corners: Floats
    labels: Integers

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: NDArray[Any]) -> "Boxes":
        return Boxes(self.pictures[index], self.corners[index], self.labels[index])

    def counts(self, classes: int) -> Integers:
        """How many there are of each class [C]."""
        return np.bincount(self.labels, minlength=classes).astype(np.int64)

    def images(self, classes: int) -> Integers:
        """How many pictures show each class [C]."""
        pairs = np.unique(np.stack([self.pictures, self.labels]), axis=1)
        return np.bincount(pairs[1], minlength=classes).astype(np.int64)

    def centres(self, sizes: Floats) -> Floats:
        """The centres [M, 2], from 0 to 1 across pictures of `sizes` [I, 2], width and height."""
        middle = (self.corners[:, :2] + self.corners[:, 2:]) / 2
        found: Floats = middle / sizes[self.pictures]
        return found


def overlaps(first: Floats, second: Floats) -> Floats:
    """Intersection over union of boxes [..., 4], as they broadcast; 0 where both are empty."""
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    shared = (high - low).clip(min=0).prod(axis=-1)
    total = _areas(first) + _areas(second) - shared
    found: Floats = np.divide(shared, total, out=np.zeros_like(shared), where=total > 0)
    return found


def _areas(corners: Floats) -> Floats:
    found: Floats = (corners[..., 2:] - corners[..., :2]).prod(axis=-1)
    return found


def by_picture(pictures: Integers, number: int) -> Integers:
    """The places of boxes [number, most] in each picture, in their order; -1 where there are none
    left."""
    held = np.bincount(pictures, minlength=number)
    order = np.argsort(pictures, kind="stable")
    ends = held.cumsum()
    column = np.arange(len(order)) - np.repeat(ends - held, held)
    table = np.full((number, max(int(held.max(initial=0)), 1)), -1, dtype=np.int64)
    table[pictures[order], column] = order
    return table
