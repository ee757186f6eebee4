"""What a method may see: the run, its phases, the rows, a batch and what the network puts out."""

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ltbench.augmentation.views import Views
from ltbench.errors import LTBenchError
from ltbench.texts import line

PREDICTED_AT_ONCE = 256
"""Rows that go through a network together when no gradient is needed; more do not fit a cache."""


@dataclass(frozen=True)
class Rows:
    """Labelled rows: `inputs` [N, ...] and `labels` [N], int64 in 0..C-1.

    Some tracks have other targets in the place of labels: several a row [N, C], 0 or 1, or a number
    [N]. `groups` [N] are the domain or group of each row, where rows have one; `mask` [N, L] tells
    which of L positions of a row are filled, where rows differ in length. Both travel with the
    rows. In a table each of `categorical` spans the columns of `inputs` [N, D] that stand for one
    category, one of which is 1 in a row.
    """

    inputs: Tensor
    labels: Tensor
    groups: Tensor | None = None
    mask: Tensor | None = None
    categorical: tuple[slice, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor) -> "Rows":
        beside: dict[str, Any] = {name: held[index] for name, held in self.beside().items()}
        return replace(self, inputs=self.inputs[index], labels=self.labels[index], **beside)

    def to(self, device: torch.device) -> "Rows":
        beside: dict[str, Any] = {name: held.to(device) for name, held in self.beside().items()}
        return replace(self, inputs=self.inputs.to(device), labels=self.labels.to(device), **beside)

    def beside(self) -> dict[str, Tensor]:
        """What rows hold, each, besides inputs and labels."""
        held = {"groups": self.groups, "mask": self.mask}
        return {name: tensor for name, tensor in held.items() if tensor is not None}

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row's inputs."""
        return tuple(self.inputs.shape[1:])

    def inputs_at(self, index: Tensor) -> Tensor:
        """The inputs [M, ...] of the rows at the positions `index` [M]."""
        return self.inputs[index]

    def portions(self) -> Iterator[Tensor]:
        """All inputs in their order, some at a time."""
        every = torch.arange(len(self), device=self.labels.device)
        return map(self.inputs_at, every.split(PREDICTED_AT_ONCE))


class Chosen(Rows):
    """The rows at some positions of others, whose inputs are not copied.

    They are gathered a batch at a time, or all of them once somebody reads `inputs`.
    """

    source: Rows
    index: Tensor

    @classmethod
    def out_of(cls, source: Rows, index: Tensor, labels: Tensor | None = None) -> "Chosen":
        """The rows at the positions `index` [N], maybe with labels [N] of their own."""
        chosen = cls.__new__(cls)
        beside = {"groups": source.groups, "mask": source.mask}
        vars(chosen).update(
            {name: None if held is None else held[index] for name, held in beside.items()},
            labels=source.labels[index] if labels is None else labels,
            categorical=source.categorical,
            source=source,
            index=index,
        )
        return chosen

    @property
    def copied(self) -> bool:
        return "inputs" in vars(self)

    @cached_property
    def inputs(self) -> Tensor:
        return self.source.inputs_at(self.index)

    def __getitem__(self, index: Tensor) -> Rows:
        if self.copied:  # and maybe written to
            return super().__getitem__(index)
        return Chosen.out_of(self.source, self.index[index], self.labels[index])

    def to(self, device: torch.device) -> Rows:
        return super().to(device) if self.copied or device.type != "cpu" else self

    @property
    def shape(self) -> tuple[int, ...]:
        return super().shape if self.copied else self.source.shape

    def inputs_at(self, index: Tensor) -> Tensor:
        if self.copied:
            return super().inputs_at(index)
        return self.source.inputs_at(self.index[index])


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

    Where rows have groups, `groups` are those of the labels of each target, [N] each; a method that
    mixes rows of several groups tells them. `mask` [N, L] goes to the network with the inputs.
    """

    inputs: Tensor
    targets: list[tuple[Tensor, float | Tensor]]
    rows: Tensor
    groups: tuple[Tensor, ...] = ()
    mask: Tensor | None = None


@dataclass(frozen=True)
class Output:
    """What the network puts out: scores [N, C] of each head, and the features [N, D] they share."""

    heads: tuple[Tensor, ...]
    features: Tensor


@dataclass(frozen=True, kw_only=True)
class Grants:
    """What a track supplies beyond what all tracks share; one that supplies more has a subclass.

    `cross_fitted`, where there is such, gives the scores [N, C] of the real training rows, each
    from a model that did not see it, and their labels. `positive` is the class of two that metrics
    such as F1 are of, where the track says which.
    """

    cross_fitted: Callable[[], tuple[Tensor, Tensor]] | None = None
    positive: int | None = None


@dataclass
class Run:
    """What a method may know about the run it is part of; never anything of the test split.

    `counts` [C] are the rows of each class in the training split, `seen` [C] the share of each
    class as the present phase presents it (after resampling and sampling weights), `progress`
    (a tensor without dimensions) goes from 0 to 1 within the phase. A class without rows counts as
    if it had one; `exact_counts` [C] tell the truth. `train` are the rows that the phase draws
    from, as they are stored; `plain` and `augment` make of stored inputs what the network takes.
    `head` tells which head `adjust`, `criterion` and `weight` are called for, from 0, and `groups`
    [N] the groups of the rows whose labels they are given, where rows have groups. `passes` counts
    the rows whose gradient was computed.

    `output` is all that the network put out for the batch: scores of each head and features, the N
    labelled rows first, further ones after them. It holds, with its graph, from the first `adjust`
    of a loss to the last `extra`, and is None outside of losses; learners of tables have none.
    `kept` are the networks beside `model` that methods keep by `keep`.

    `granted` is what the track supplies beyond that, `Grants` or a subclass of the track's own.
    `recipe` is the composed method, for what its methods decide together. `rng` is a method's to
    draw from, `chance` the engine's.
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
    output: Output | None = field(default=None, repr=False)
    groups: Tensor | None = None
    passes: int = 0
    notes: list[str] = field(default_factory=list)
    granted: Any = field(default_factory=Grants)
    recipe: Any = None
    chance: dict[str, torch.Generator] = field(default_factory=dict, repr=False)
    kept: dict[str, nn.Module] = field(init=False, default_factory=dict, repr=False)
    exact_counts: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.exact_counts = self.counts
        self.counts = self.counts.clamp(min=1)
        if (self.exact_counts == 0).any():
            self.seen = self.counts / self.counts.sum()

    @property
    def num_classes(self) -> int:
        return len(self.counts)

    @property
    def positive(self) -> int | None:
        """The class of two that metrics such as F1 are of: the one that the track grants, or else
        the rarer by `counts`, and the first of equals. None of more than two."""
        granted: int | None = getattr(self.granted, "positive", None)
        if granted is not None or self.num_classes != 2:
            return granted
        return int(self.counts.argmin())

    def plain(self, inputs: Tensor) -> Tensor:
        """Stored inputs as the network takes them to predict."""
        return self.views.plain(inputs)

    def augment(self, inputs: Tensor) -> Tensor:
        """Stored inputs as the network takes them to train; another view at each call."""
        return self.views.augmented(inputs, self.rng)

    def through(self, model: nn.Module, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """The features [N, D] of inputs, computed in the run's precision.

        A network takes a `mask` [N, L] of rows of uneven length as `features(inputs, mask)`.
        """
        given = (inputs,) if mask is None else (inputs, mask)
        if self.precision == torch.float32:
            features: Tensor = model.features(*given)  # type: ignore[operator]
            return features
        with torch.autocast(self.device.type, self.precision):
            return model.features(*given).float()  # type: ignore[operator, no-any-return]

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

    def keep(self, name: str, network: nn.Module) -> nn.Module:
        """Keeps a copy of a network beside the one that is trained: a teacher, a mean, a memory.

        The copy stands on the run's device and in evaluation mode, takes no gradient, and is out of
        reach of the optimizer and of what resets or freezes `model`. A checkpoint holds it, and the
        next training begins without it. Keep it in `build` or `enter`, which a training that is
        resumed calls again before the copy gets back its state; `kept[name]` is the copy.

        Raises:
            LTBenchError: another is kept by that name, or what is given is no network.
        """
        if not isinstance(network, nn.Module):
            raise LTBenchError(f"keep {name!r}: {line(network, repr)} is no torch.nn.Module")
        if name in self.kept:
            raise LTBenchError(
                f"a network is kept as {name!r} already; a method names its own after itself, and "
                "kept[name].load_state_dict(...) renews it"
            )
        kept = copy.deepcopy(network).to(self.device).eval().requires_grad_(False)
        self.kept[name] = kept
        return kept

    def note(self, text: str) -> None:
        """Say something that belongs beside the result, such as a default kept or a fallback."""
        told = line(text)
        if told not in self.notes:
            self.notes.append(told)


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
