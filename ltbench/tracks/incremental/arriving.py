"""The rows of a cell, whose classes are numbered in the order in which they arrive."""

from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
import torch

from ltbench.contract.context import Chosen, Rows
from ltbench.datasets import Dataset
from ltbench.errors import LTBenchError
from ltbench.tracks import classification
from ltbench.tracks.classification import Parts
from ltbench.tracks.incremental.problem import Incremental

ARRIVES = 2  # beside a seed, the stream of the order in which classes arrive


@dataclass(frozen=True)
class Arriving:
    """The rows of a cell. `order` [C] are the source's numbers of the classes as they arrive, and
    `known` how many of them are known after each task."""

    parts: Parts
    order: list[int]
    known: tuple[int, ...]


def arriving(protocol: Incremental, dataset: Dataset, seed: int) -> Arriving:
    """The rows of the cell of one seed, with classes numbered as they arrive.

    Raises:
        LTBenchError: the data are not the protocol's, have too few rows for it, or too few classes.
    """
    known = dealt(protocol, len(dataset.classes))
    refuse_crowded(protocol, len(dataset.classes))
    parts = classification.split(protocol, dataset, seed)
    counts = np.array(parts.class_counts)
    order = np.random.RandomState([ARRIVES, seed]).permutation(len(counts))
    if protocol.arrival == "largest":  # of equals the one first that the seed drew first
        order = order[np.argsort(-counts[order], kind="stable")]
    place = torch.from_numpy(np.argsort(order))

    def renumbered(rows: Rows) -> Rows:
        return Chosen.out_of(rows, torch.arange(len(rows)), place[rows.labels])

    return Arriving(
        replace(
            parts,
            train=renumbered(parts.train),
            test=lambda: renumbered(parts.test()),
            class_counts=counts[order].tolist(),
        ),
        order.tolist(),
        known,
    )


def dealt(protocol: Incremental, classes: int) -> tuple[int, ...]:
    """How many of so many classes are known after each task.

    Raises:
        LTBenchError: there are fewer classes than tasks, or none are left for the later ones.
    """
    first, tasks = protocol.first_classes, protocol.tasks
    later, left = (tasks, classes) if first is None else (tasks - 1, classes - first)
    if left < later:
        told = "" if first is None else f" after the first one's {first}"
        raise LTBenchError(
            f"{protocol.name} has {later} tasks{told}, but {protocol.data.source} has "
            f"{max(left, 0)} classes for them; state fewer tasks"
        )
    even = [left // later + (task < left % later) for task in range(later)]
    return tuple(accumulate(even if first is None else [first, *even]))


def refuse_crowded(protocol: Incremental, classes: int) -> None:
    """Refuses a memory that cannot hold a row of each class.

    Raises:
        LTBenchError: it is smaller than the classes.
    """
    room = protocol.memory.room(classes)
    if 0 < room < classes:
        raise LTBenchError(
            f"{protocol.name} remembers {room} rows, and {protocol.data.source} has {classes} "
            "classes; state a row for each or more, or none at all"
        )
