"""How the data of a cell are cut: rows to learn and to test on, and others for upstream models."""

from dataclasses import dataclass

import numpy as np
import torch

from ltbench.contract.context import Rows
from ltbench.datasets import Dataset
from ltbench.errors import LTBenchError
from ltbench.protocols.imbalance import class_counts, shuffled_classes
from ltbench.tracks.classification import Parts, split
from ltbench.tracks.finetuning.problem import Finetuning, Upstream


@dataclass(frozen=True)
class Cut:
    """The rows of a cell: its parts, and those of each model that the protocol trains upstream."""

    parts: Parts
    upstream: tuple[Rows, ...]

    @property
    def counts(self) -> list[list[int]]:
        """The rows of each class [models, C] that upstream models are trained on."""
        classes = len(self.parts.class_counts)
        return [rows.labels.bincount(minlength=classes).tolist() for rows in self.upstream]


def cut(protocol: Finetuning, dataset: Dataset, seed: int) -> Cut:
    """Cuts the data into its parts; no row of the source is in two of them.

    Raises:
        LTBenchError: the data are not the protocol's, or have too few rows for it.
    """
    dataset = noisy(dataset, protocol.noise)
    parts, upstream = split(protocol, dataset, seed), protocol.upstream
    if upstream is None:
        return Cut(parts, ())
    labels, classes = dataset.train.labels.numpy(), len(dataset.classes)
    counts = class_counts("exponential", upstream.n_max, upstream.factor, classes)
    drawn = shuffled_classes(labels, classes, seed if protocol.imbalance.draw == "seed" else 0)
    learned = np.array(parts.class_counts)
    if parts.validation is not None:
        learned += parts.validation.labels.bincount(minlength=classes).numpy()
    held = protocol.data.test_per_class or 0
    left = [rows[n : len(rows) - held] for rows, n in zip(drawn, learned, strict=True)]
    tails = [
        [counts[rank] for rank in order.argsort()] for order in orders(upstream, classes, seed)
    ]
    for c, wanted in enumerate(map(max, zip(*tails, strict=True))):
        if len(left[c]) < wanted:
            raise LTBenchError(
                f"{protocol.name} trains upstream on {wanted} rows of class {dataset.classes[c]}, "
                f"of which {len(left[c])} are left by {learned[c]} to learn and {held} to test on; "
                "lower upstream.n_max"
            )
    return Cut(
        parts,
        tuple(
            taken(dataset.train, np.concatenate([left[c][:rows] for c, rows in enumerate(tail)]))
            for tail in tails
        ),
    )


def orders(upstream: Upstream, classes: int, seed: int) -> list[np.ndarray]:
    """The classes [C] from the largest to the smallest, for each upstream model."""
    draws = range(upstream.models) if upstream.orders == "different" else [0] * upstream.models
    return [np.random.RandomState([seed, 1 + k]).permutation(classes) for k in draws]


def taken(rows: Rows, index: np.ndarray) -> Rows:
    """Copies of the rows at the positions `index` [N]."""
    chosen = torch.from_numpy(index)
    return Rows(rows.inputs_at(chosen), rows.labels[chosen])


def noisy(dataset: Dataset, noise: float) -> Dataset:
    """The same data with Gaussian noise on every row, always the same; the fingerprint stays.

    Raises:
        LTBenchError: inputs are bytes, to which noise cannot be added.
    """
    if noise == 0:
        return dataset
    random = torch.Generator().manual_seed(0)

    def moved(rows: Rows) -> Rows:
        inputs = rows.inputs_at(torch.arange(len(rows)))
        if not inputs.is_floating_point():
            raise LTBenchError(f"noise is added to numbers, but inputs are {inputs.dtype}")
        drawn = torch.randn(inputs.shape, generator=random)
        return Rows(inputs + noise * drawn, rows.labels)

    test = moved(dataset.test) if dataset.test is not None else None
    return Dataset(moved(dataset.train), dataset.classes, test, dataset.fingerprint)
