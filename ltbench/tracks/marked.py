"""A small protocol, and its data with a mark in what no method may see."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch

from ltbench.contract.context import Rows
from ltbench.datasets import Dataset
from ltbench.protocols.schema import Budget, Classification, Compute, Data, Imbalance, Scoring
from ltbench.testing.task import MARK, SHAPE, rows_of
from ltbench.tracks.classification import split

P = TypeVar("P", bound=Classification)


def fields(dataset: Dataset) -> dict[str, Any]:
    """The keys of a small protocol of a track that trains networks."""
    return dict(
        name="check",
        version=1,
        description="",
        recipes=["erm"],
        seeds=1,
        data=Data("check", dataset.fingerprint, test_per_class=4, validation_share=0.25),
        imbalance=Imbalance("counts", "label", "seed", counts=[16, 8, 4][: len(dataset.classes)]),
        network={"name": "mlp", "widths": [8]},
        budget=Budget(
            epochs=2,
            batch_size=8,
            lr=0.05,
            momentum=0.9,
            nesterov=False,
            weight_decay=1e-3,
            warmup=0.1,
            decay="cosine",
            augmentation="none",
        ),
        scoring=Scoring(metrics=["balanced_accuracy"], shot_splits=(5, 10)),
        compute=Compute(threads=1),
    )


def marked(
    classes: int, of: Callable[[Dataset], P], tested_alone: bool = False
) -> tuple[P, Dataset]:
    """A small protocol, and its data with a mark in every row that is held out, or tested on."""
    rows, names = rows_of([20] * classes), tuple("abc"[:classes])
    numbered = torch.arange(float(len(rows))).reshape(-1, 1, 1, 1).expand(-1, *SHAPE)
    numbers = Dataset(Rows(numbered, rows.labels), names)
    parts = split(of(numbers), numbers, 0)
    test, kept = (part.inputs[:, 0, 0, 0].long() for part in (parts.test(), parts.train))
    held_out = torch.zeros(len(rows), dtype=torch.bool).index_fill(0, test, True)
    if not tested_alone:
        held_out = torch.ones_like(held_out).index_fill(0, kept, False)
    rows.inputs[held_out, :, 0, 0] = MARK
    dataset = Dataset(rows, names)
    return of(dataset), dataset
