"""Imbalance: profile and factor become class counts, and counts a seeded list of rows."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ltbench.errors import LTBenchError

Index = NDArray[np.int64]
Profile = Literal["exponential", "step", "linear"]


def class_counts(
    profile: Profile, n_max: int, factor: float, num_classes: int, minority: float = 0.5
) -> list[int]:
    """The rows of each class from largest to smallest; fractions are cut off.

    `factor` is n_max / n_min. Exponential and step follow the rule of LDAM-DRW's CIFAR-LT
    (arXiv:1906.07413): `n_max * (1 / factor) ** (c / (C - 1))`, and n_max for the first half of
    the classes and n_max / factor for the others; `minority` is the share of the others. Linear
    falls by equal amounts (both axes: Buda et al., arXiv:1710.05381).

    Raises:
        LTBenchError: a class would be left without rows.
    """
    inverse = 1 / factor
    last = max(num_classes - 1, 1)
    if profile == "exponential":
        counts = [int(n_max * inverse ** (c / last)) for c in range(num_classes)]
    elif profile == "step":
        few = int(n_max * inverse)
        many = int(num_classes * (1 - minority) + 1e-9)
        counts = [n_max if c < many else few for c in range(num_classes)]
    else:
        counts = [int(n_max - (n_max - n_max * inverse) * c / last) for c in range(num_classes)]
    if min(counts) < 1:
        largest = n_max if int(n_max * (1 / n_max)) else n_max - 1
        raise LTBenchError(
            f"imbalance factor {factor:g} leaves class {counts.index(0)} without rows; "
            f"with {n_max} rows in the largest class the factor can be at most {largest}"
        )
    return counts


def shuffled_classes(labels: Index, num_classes: int, seed: int) -> list[Index]:
    """The rows of each class in the order in which they are kept.

    NumPy's legacy generator shuffles one class after the other in ascending order, as the
    published CIFAR-LT lists do with seed 0. A shorter list is always the start of a longer one.
    """
    random = np.random.RandomState(seed)
    lists = []
    for c in range(num_classes):
        rows = np.flatnonzero(labels == c)
        random.shuffle(rows)
        lists.append(rows)
    return lists


def long_tailed(labels: Index, counts: Sequence[int], seed: int = 0) -> Index:
    """The rows of a training split with `counts[c]` rows of class c, class after class.

    Raises:
        LTBenchError: a class has fewer rows than it should give.
    """
    classes = shuffled_classes(labels, len(counts), seed)
    for c, (rows, count) in enumerate(zip(classes, counts, strict=True)):
        if len(rows) < count:
            raise LTBenchError(f"class {c} has {len(rows)} rows, but {count} are asked for")
    return np.concatenate([rows[:count] for rows, count in zip(classes, counts, strict=True)])


def with_label_noise(labels: Index, num_classes: int, share: float, seed: int) -> Index:
    """Labels of which `share` are replaced, each by one of the other classes, equally often."""
    random = np.random.RandomState(seed)
    wrong = random.rand(len(labels)) < share
    shift = random.randint(1, num_classes, len(labels))
    return np.where(wrong, (labels + shift) % num_classes, labels)
