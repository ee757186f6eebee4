"""A small task to train on: clouds of a few classes, in milliseconds."""

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.module import register_module_forward_hook

from ltbench.contract.context import Batch, Grants, Phase, Rows, Run
from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.datasets import Dataset
from ltbench.models.mlp import Network, Options
from ltbench.registry.registry import installed
from ltbench.testing.report import expect
from ltbench.training.engine import State, generator, predict, seeded, train

SHAPE = (1, 8, 8)
BATCH = 16
COUNTS = (24, 12, 6, 4)
MARK = 1000.0  # stands in validation and test rows alone


@dataclass
class Trained:
    """What a short training yields: its run, its model and the model's scores of some test rows.

    `predict` gives scores [N, C] and decided labels [N] of inputs.
    """

    run: Run
    model: Any
    scores: Tensor
    predict: Callable[[Tensor], tuple[Tensor, Tensor]]

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
    granted: Grants | None = None,
    device: torch.device | None = None,
) -> Trained:
    """What a short training of a small network makes of a method, on the CPU or another device."""
    device = device or torch.device("cpu")
    rows = (rows_of(counts) if rows is None else rows).to(device)
    test = rows_of([4] * len(counts), seed=1).to(device)
    whole = torch.tensor(counts, dtype=torch.float32, device=device)
    run = Run(
        counts=whole,
        seen=whole / whole.sum(),
        progress=torch.zeros((), device=device),
        phase=Phase("main", 3, lr=0.05, weight_decay=1e-3, warmup=0.1),
        seed=7,
        device=device,
        granted=granted or Grants(),
    )
    run.rng = generator(run, "methods")
    with seeded(run, "network"):
        run.model = Network(SHAPE, len(counts), Options([16], batch_norm=True)).to(device)
    model = train(method, rows, run, BATCH, validation=None, checkpoint=checkpoint, resume=resume)
    predicted = partial(_predicted, method, model, run)
    return Trained(run, model, predicted(test.inputs)[0], predicted)


def _predicted(method: Method, model: nn.Module, run: Run, inputs: Tensor) -> tuple[Tensor, Tensor]:
    return predict(method, model, inputs, run)


@contextmanager
def statistics_watched() -> Iterator[Counter[nn.Module]]:
    """How often the running statistics of each BatchNorm have moved within."""
    moved: Counter[nn.Module] = Counter()

    def note(module: nn.Module, given: Any, output: Any) -> None:
        if isinstance(module, _BatchNorm) and module.training and module.track_running_stats:
            moved[module] += 1

    hook = register_module_forward_hook(note)
    try:
        yield moved
    finally:
        hook.remove()


@dataclass(frozen=True)
class Task:
    """How a track trains on the small task: from a method, class counts and maybe rows.

    What is not trained `in_steps` keeps no checkpoints and has no phases.
    """

    trained: Callable[..., Trained]
    in_steps: bool = True

    def train(self, method: Recipe, **options: Any) -> Trained:
        """A short training of a fresh copy, on as many classes as the method takes."""
        return self.trained(copy.deepcopy(method), counts_for(method), **options)


OF_NETWORKS = Task(trained)


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


def expect_unseen(spy: Spy) -> None:
    """A spy must have been asked, and must have seen no marked row."""
    expect(
        spy.called and not spy.seen,
        f"expected training rows alone, but held-out ones reached {', '.join(sorted(spy.seen))}"
        if spy.called
        else "expected the training hooks to be called, but none was",
    )


@dataclass
class MarkedTask:
    """Clouds of four classes, each row to test on with a mark, and a spy who looks for it.

    A track's cell is run on `dataset` with `beside(method)`; then `expect_unseen()`.
    """

    spy: Spy = field(default_factory=Spy)

    @property
    def dataset(self) -> Dataset:
        """Images [1, 8, 8] with a test split of their own, which is marked."""
        test = rows_of([4] * len(COUNTS), seed=1)
        test.inputs[:, :, 0, 0] = MARK
        return Dataset(rows_of(COUNTS), tuple("abcd"), test)

    def beside(self, method: str | Method) -> Recipe:
        """A recipe with the spy as the last of its methods."""
        given = installed().recipe(method) if isinstance(method, str) else method
        methods = given.methods if isinstance(given, Recipe) else (given,)
        return Recipe(*copy.deepcopy(methods), self.spy)

    def expect_unseen(self) -> None:
        """Raises with the hooks that a marked row reached, if there are any."""
        expect_unseen(self.spy)
