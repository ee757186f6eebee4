"""A small protocol, and its data with a mark or false labels in what no method may see."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from msgspec import structs
from torch import Tensor

from ltbench.contract.context import Rows
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Outcome
from ltbench.datasets import Dataset, digits
from ltbench.protocols.schema import Budget, Classification, Compute, Data, Imbalance, Scoring
from ltbench.testing.report import expect
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
        imbalance=Imbalance("counts", "label", "seed", counts=counts_of(len(dataset.classes))),
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


def counts_of(classes: int) -> list[int]:
    return [16, 8, *[4] * (classes - 2)]


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


def expect_deaf(
    method: Recipe,
    of: Callable[[Dataset], P],
    run: Callable[[P, Recipe, int, Dataset, torch.device], Outcome],
    kind: Callable[[Dataset], Dataset] = lambda dataset: dataset,
) -> None:
    """A cell of digits must decide alike where test labels are false and rows stand elsewhere.

    The test rows are those of the shipped protocols of digits at seed 0. Decoys have every label
    turned by one class, so that what has the labels, or an order of them, from anywhere shows it.
    """
    names = ("0", "1") if "two_classes" in method.all_needs else ()
    whole = digits.load().of_classes(names) if names else digits.load()
    protocol = of(whole)
    cut = split(
        structs.replace(protocol, data=structs.replace(protocol.data, test_per_class=50)), whole, 0
    )
    test = cut.test()

    def decided(rows: Rows) -> Tensor:
        dataset = kind(Dataset(cut.train, whole.classes, rows))
        asked = of(dataset)
        held = structs.replace(asked.data, test_per_class=None, validation_share=None)
        counts = structs.replace(asked.imbalance, counts=cut.class_counts)
        small = structs.replace(asked, data=held, imbalance=counts)
        arrays = run(small, method, 0, dataset, torch.device("cpu")).arrays
        assert arrays is not None
        by_network = np.atleast_2d(arrays["predicted"])
        return torch.from_numpy(by_network.astype("int64"))

    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))
    plain = decided(test)[:, order]
    turned = replace(test[order], labels=(test.labels[order] + 1) % len(whole.classes))
    changed = int((plain != decided(turned)).any(dim=0).sum())
    expect(
        changed <= len(test) // 100,  # another place in a batch may move a last bit
        f"expected the same decisions whatever is told of the test rows, but {changed} of "
        f"{len(test)} changed with the order and the labels of these; decide each row by itself, "
        "and by nothing but its input",
    )
