"""A small task to train on: clouds of a few classes, in milliseconds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ltbench.context import Batch, Phase, Rows, Run
from ltbench.datasets import Dataset
from ltbench.engine import State, generator, predict, seeded, train
from ltbench.method import Method
from ltbench.models.mlp import Network, Options
from ltbench.protocols import Budget, Compute, Data, Imbalance, Recognition, Scoring
from ltbench.recipes import Recipe
from ltbench.testing.estimators import fitted, on_estimators
from ltbench.testing.probes import as_recipe
from ltbench.tracks import recognition

SHAPE = (1, 8, 8)
BATCH = 16
COUNTS = (24, 12, 6, 4)
MARK = 1000.0  # stands in validation and test rows alone


@dataclass
class Trained:
    """What a short training yields: its run, its model and the model's scores."""

    run: Run
    model: Any
    scores: Tensor

    @property
    def state(self) -> State:
        """All that one seed must give again."""
        state = self.model.state_dict() if isinstance(self.model, nn.Module) else {}
        return {"scores": self.scores, **state}


def rows_of(counts: Sequence[int], seed: int = 0) -> Rows:
    """Small images, a Gaussian cloud for each class; `seed` draws other rows of the same clouds."""
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    centres = torch.randn(len(counts), *SHAPE, generator=random)
    random.manual_seed(seed + 1)
    noise = torch.randn(len(labels), *SHAPE, generator=random)
    return Rows(centres[labels] + 0.5 * noise, labels)


def trained(
    method: Method,
    counts: Sequence[int] = COUNTS,
    rows: Rows | None = None,
    checkpoint: Callable[[State], None] | None = None,
    resume: State | None = None,
) -> Trained:
    rows = rows_of(counts) if rows is None else rows
    test = rows_of([4] * len(counts), seed=1)
    if on_estimators(as_recipe(method)):
        return Trained(*fitted(as_recipe(method), rows, test))
    whole = torch.tensor(counts, dtype=torch.float32)
    run = Run(
        counts=whole,
        seen=whole / whole.sum(),
        progress=torch.zeros(()),
        phase=Phase("main", 3, lr=0.05, weight_decay=1e-3, warmup=0.1),
        seed=7,
    )
    run.rng = generator(run, "methods")
    with seeded(run, "network"):
        run.model = Network(SHAPE, len(counts), Options([16], batch_norm=True))
    model = train(method, rows, run, BATCH, validation=None, checkpoint=checkpoint, resume=resume)
    scores, _ = predict(method, model, test.inputs, run)
    return Trained(run, model, scores)


def counts_for(method: Recipe) -> tuple[int, ...]:
    """Class counts of the task: four classes, or two for a method that needs two."""
    return COUNTS[:2] if "two_classes" in method.all_needs else COUNTS


class Everywhere(tuple[str, ...]):
    """Roles of a method that acts in every phase."""

    def __contains__(self, role: object) -> bool:
        return True


class Spy(Method):
    """Looks for marked rows in what the training hooks are given."""

    name = "spy"
    roles = Everywhere(("main",))

    def __init__(self) -> None:
        self.called: set[str] = set()
        self.seen: set[str] = set()

    def __deepcopy__(self, memo: dict[int, Any]) -> "Spy":
        return self  # a copy would keep to itself what it saw

    def look(self, hook: str, inputs: Tensor) -> None:
        self.called.add(hook)
        if (inputs.abs() >= MARK / 2).any():
            self.seen.add(hook)

    def resample(self, train: Rows, run: Run) -> Rows:
        self.look("resample", train.inputs)
        return train

    def enter(self, train: Rows, run: Run) -> Rows:
        self.look("enter", train.inputs)
        return train

    def batch(self, batch: Batch, run: Run) -> Batch:
        self.look("batch", batch.inputs)
        return batch


def small(dataset: Dataset) -> Recognition:
    return Recognition(
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
    classes: int, of: Callable[[Dataset], Recognition] = small, tested_alone: bool = False
) -> tuple[Recognition, Dataset]:
    """A small protocol, and its data with a mark in every row that is held out, or tested on."""
    rows, names = rows_of([20] * classes), tuple("abc"[:classes])
    numbered = torch.arange(float(len(rows))).reshape(-1, 1, 1, 1).expand(-1, *SHAPE)
    numbers = Dataset(Rows(numbered, rows.labels), names)
    parts = recognition.split(of(numbers), numbers, 0)
    test, kept = (part.inputs[:, 0, 0, 0].long() for part in (parts.test(), parts.train))
    held_out = torch.zeros(len(rows), dtype=torch.bool).index_fill(0, test, True)
    if not tested_alone:
        held_out = torch.ones_like(held_out).index_fill(0, kept, False)
    rows.inputs[held_out, :, 0, 0] = MARK
    dataset = Dataset(rows, names)
    return of(dataset), dataset
