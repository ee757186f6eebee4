"""What a method may see: the run, its phases, the rows, a batch and what the network puts out."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ltbench.compressing import Compressing
from ltbench.distilling import Distilling
from ltbench.views import Views

if TYPE_CHECKING:
    from ltbench.method import Method

PREDICTED_AT_ONCE = 256
"""Rows that go through a network together when no gradient is needed; more do not fit a cache."""

Networks = list[tuple[nn.Module, nn.Module]]
"""Networks as they began and as training left them."""


@dataclass(frozen=True)
class Rows:
    """Labelled rows: `inputs` [N, ...] and `labels` [N], int64 in 0..C-1."""

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor) -> "Rows":
        return Rows(self.inputs[index], self.labels[index])

    def to(self, device: torch.device) -> "Rows":
        return Rows(self.inputs.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Phase:
    """One stretch of training.

    `epochs` are counted in rows of the original training set, whatever set the phase trains on,
    so that resampling methods take as many steps as plain training does. The learning rate rises
    over the share `warmup` and falls along a cosine, or to `factors` of it at `milestones`. `learn`
    is the part of the network whose parameters learn ("" is all of it, "head" the classifier),
    `reset` the part that starts anew on entry. `frozen_bn` keeps BatchNorm at its statistics.
    `on_features` says that the rows of the phase are features, which go to the head alone.
    """

    role: str
    epochs: int
    lr: float
    weight_decay: float
    momentum: float = 0.9
    nesterov: bool = False
    warmup: float = 0.0
    milestones: tuple[float, ...] = ()
    factors: tuple[float, ...] = ()
    learn: str = ""
    reset: str | None = None
    frozen_bn: bool = False
    on_features: bool = False


@dataclass(frozen=True)
class Batch:
    """What one step trains on.

    `targets` is a list of (labels [N], share) pairs, so that every hook works on hard labels:
    one pair with share 1 for plain rows, two for mixed ones. `rows` [N] are the positions in the
    phase's training set. `inputs` may go on after the N rows that have labels, with further views
    or rows at the side: they pass through the network, and only `extra` uses what comes out.
    """

    inputs: Tensor
    targets: list[tuple[Tensor, float | Tensor]]
    rows: Tensor


@dataclass(frozen=True)
class Output:
    """What the network puts out: scores [N, C] of each head, and the features [N, D] they share."""

    heads: tuple[Tensor, ...]
    features: Tensor


@dataclass
class Run:
    """What a method may know about the run it is part of; never anything of the test split.

    `counts` [C] are the rows of each class in the training split, `seen` [C] the share of each
    class as the present phase presents it (after resampling and sampling weights), `progress`
    (a tensor without dimensions) goes from 0 to 1 within the phase. `train` are the rows that the
    phase draws from, as they are stored; `plain` and `augment` make of stored inputs what the
    network takes. `head` tells which head `adjust`, `criterion` and `weight` are called for, from
    0. `passes` counts the rows whose gradient was computed.

    In a table, each of `categorical` spans the columns of `inputs` [N, D] that stand for one
    category, one of which is 1 in a row. `cross_fitted` gives the scores [N, C] of the real
    training rows, each from a model that did not see it, and their labels.

    Where training sets are distilled, `ipc` is how many rows of each class may be kept,
    `distilling` the rest of that budget and `pool` gives the networks, each as it began and as
    plain training on the real rows left it (with `balanced`, on draws in which classes are alike);
    none of them is to be changed. `whole` gives, to a method that needs "whole", as many real rows
    of every class as the largest has.

    `recipe` is the composed method, for what its methods decide together: `run.recipe.mimic` is the
    label-free loss of all of them, `run.recipe.importance` tells which filters count.

    Where networks are compressed, `model` starts as a copy of `teacher`, which is not to be
    changed; `compressing` says what may be kept of it, and `ood` [M, ...] are stored inputs of
    other things than the classes, for a method that needs "ood".
    """

    counts: Tensor
    seen: Tensor
    progress: Tensor
    phase: Phase
    rng: torch.Generator = field(default_factory=torch.Generator)
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    model: nn.Module | None = None
    train: Rows | None = None
    views: Views = field(default_factory=Views)
    precision: torch.dtype = torch.float32
    head: int = 0
    passes: int = 0
    notes: list[str] = field(default_factory=list)
    categorical: tuple[slice, ...] = ()
    cross_fitted: Callable[[], tuple[Tensor, Tensor]] | None = None
    ipc: int | None = None
    distilling: Distilling | None = None
    pool: Callable[[bool], Networks] | None = None
    whole: Callable[[], Rows] | None = None
    recipe: "Method | None" = None
    teacher: nn.Module | None = None
    compressing: Compressing | None = None
    ood: Tensor | None = None

    @property
    def num_classes(self) -> int:
        return len(self.counts)

    def plain(self, inputs: Tensor) -> Tensor:
        """Stored inputs as the network takes them to predict."""
        return self.views.plain(inputs)

    def augment(self, inputs: Tensor) -> Tensor:
        """Stored inputs as the network takes them to train; another view at each call."""
        return self.views.augmented(inputs, self.rng)

    def through(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """The features [N, D] of inputs, computed in the run's precision."""
        if self.precision == torch.float32:
            features: Tensor = model.features(inputs)  # type: ignore[operator]
            return features
        with torch.autocast(self.device.type, self.precision):
            return model.features(inputs).float()  # type: ignore[operator, no-any-return]

    @torch.no_grad()
    def features(self, inputs: Tensor, batch_size: int = PREDICTED_AT_ONCE) -> Tensor:
        """The features [N, D] that the network, in evaluation mode, makes of stored inputs."""
        assert self.model is not None
        modes = {module: module.training for module in self.model.modules()}
        self.model.eval()
        parts = inputs.split(batch_size)
        out = torch.cat([self.through(self.model, self.plain(part)) for part in parts])
        for module, training in modes.items():
            module.training = training
        return out

    @torch.no_grad()
    def scores(self, inputs: Tensor) -> Tensor:
        """The scores [N, C] that the network, as it stands, gives to stored inputs."""
        assert self.model is not None
        heads = self.model.head(self.features(inputs))  # type: ignore[operator]
        scores: Tensor = heads if isinstance(heads, Tensor) else torch.stack(tuple(heads)).mean(0)
        return scores

    def aside(self, inputs: Tensor) -> Output:
        """What the network puts out for rows in a pass of their own.

        BatchNorm uses the statistics of these rows and leaves its running ones as they are.
        """
        assert self.model is not None
        with frozen_statistics(m for m in self.model.modules() if isinstance(m, _BatchNorm)):
            return scored(self.model, self.through(self.model, inputs))

    @torch.no_grad()
    def taught(self, inputs: Tensor) -> Output:
        """What the teacher makes of inputs, as the network takes them."""
        assert self.teacher is not None
        return scored(self.teacher, self.through(self.teacher, inputs))

    def unlabelled(self) -> tuple[Tensor, Tensor]:
        """Stored inputs for fits that need no labels, and what each counts.

        The training rows count one; after them come those that methods add.
        """
        assert self.train is not None and self.recipe is not None
        inputs, weights = self.train.inputs, self.counts.new_ones(len(self.train))
        added = self.recipe.unlabelled(self)
        if added is None:
            return inputs, weights
        return torch.cat([inputs, added[0]]), torch.cat([weights, added[1]])

    def note(self, text: str) -> None:
        """Say something that belongs beside the result, such as a default kept or a fallback."""
        if text not in self.notes:
            self.notes.append(text)


def scored(model: nn.Module, features: Tensor) -> Output:
    """What the heads make of features."""
    heads = model.head(features)  # type: ignore[operator]
    return Output((heads,) if isinstance(heads, Tensor) else tuple(heads), features)


@contextmanager
def frozen_statistics(norms: Iterable[nn.Module]) -> Iterator[None]:
    """BatchNorm's running statistics, held still while batches pass."""
    before = {norm: norm.track_running_stats for norm in norms}
    for norm in before:
        norm.track_running_stats = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for norm, tracking in before.items():
            norm.track_running_stats = tracking
