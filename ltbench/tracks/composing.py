"""What tracks share that compose their rows of the images of a source of one label a row."""

import numpy as np
import torch
from torch import Tensor

from ltbench.contract.context import Rows
from ltbench.datasets import Dataset
from ltbench.errors import LTBenchError
from ltbench.protocols.imbalance import shuffled_classes
from ltbench.protocols.schema import Classification

Images = tuple[Rows, list[Tensor]]
"""Rows with an image each, and which of them are of each class."""


def counts_of(protocol: Classification, classes: int, told: str, seed: int) -> Tensor:
    """How many of each class [C] there are to train on, by the protocol's imbalance.

    Raises:
        LTBenchError: it counts other classes than there are, which are `told`.
    """
    imbalance = protocol.imbalance
    counts = np.array(imbalance.class_counts([0] * classes), dtype=np.int64)
    if len(counts) != classes:
        raise LTBenchError(f"{protocol.name} counts {len(counts)} classes, but {told} {classes}")
    if imbalance.class_order == "seed":
        counts = counts[np.random.RandomState(seed).permutation(classes)]
    return torch.from_numpy(counts)


def images_apart(protocol: Classification, dataset: Dataset, seed: int) -> tuple[Images, Images]:
    """The images to compose training rows of and those for test rows."""
    held, classes = protocol.data.test_per_class or 0, len(dataset.classes)
    labels = dataset.train.labels.numpy()
    draw = seed if protocol.imbalance.draw == "seed" else 0
    lists = [torch.from_numpy(rows) for rows in shuffled_classes(labels, classes, draw)]
    train = dataset.train, [rows[: max(len(rows) - held, 0)] for rows in lists]
    if dataset.test is None:
        return train, (dataset.train, [rows[max(len(rows) - held, 0) :] for rows in lists])
    of_test = dataset.test.labels
    return train, (dataset.test, [(of_test == c).nonzero()[:, 0] for c in range(classes)])


def images_of_all(protocol: Classification, dataset: Dataset, seed: int) -> tuple[Images, Images]:
    """The images of scenes to train on and of those to test on.

    Raises:
        LTBenchError: a class has no image for one or the other.
    """
    train, test = images_apart(protocol, dataset, seed)
    for name, here, there in zip(dataset.classes, train[1], test[1], strict=True):
        if not (len(here) and len(there)):
            raise LTBenchError(
                f"class {name} of {protocol.data.source} has {len(here)} images for scenes to "
                f"train on and {len(there)} for those to test on; scenes need one or more of each"
            )
    return train, test
