"""The folds that a table is cut into."""

import numpy as np
from numpy.typing import NDArray

FOLDS = 2


def stratified(labels: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """The fold [N] of each row: those of a class are dealt out in turn, shuffled by the seed.

    A class of one row is in none (-1), so that it can be fitted every time. Classes begin where
    the one before ended, which keeps the folds alike in size.
    """
    random = np.random.RandomState(seed)
    place = np.full(len(labels), -1)
    start = 0
    for c in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == c))
        if len(rows) > 1:
            place[rows] = (start + np.arange(len(rows))) % folds
            start += len(rows)
    return place
