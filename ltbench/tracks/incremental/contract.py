"""What class-incremental learning asks of methods beyond the contract of all, and grants them."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ltbench.contract.context import Grants, Output, Rows, Run, scored
from ltbench.contract.method import Method, hook, one

PAST = "past"
"""What a method needs that acts on what is left of earlier tasks."""

PAST_ROWS = "past_rows"
"""What a method needs that is a bound: all rows of earlier tasks are trained on again."""


class ClassIncremental(Method):
    """A method with the hook that this track adds; any other method joins it in a recipe.

    One object lives through all tasks: what it sets on itself in one is there in the next, and is
    counted as kept.
    """

    @hook(one("choose what is remembered"))
    def remember(self, train: Rows, room: int, run: Run) -> Tensor:
        """The positions [M] of the rows to keep, of which memory holds `room` at most.

        `train` are the rows of the task: those of memory in the order in which they were kept, then
        new ones. By default each known class has an equal share: the first ones of those kept,
        random ones of new classes.
        """
        return equal_share(train.labels, room, run)


def equal_share(labels: Tensor, room: int, run: Run) -> Tensor:
    """The positions [M] of an equal share of each class among rows with labels [N]."""
    order = torch.randperm(len(labels), generator=run.rng, device=run.rng.device).to(labels.device)
    past = past_of(run)
    kept = labels < (0 if past is None else past.old)
    order = torch.cat([kept.nonzero()[:, 0], order[~kept[order]]])
    return first_of_each(labels, order, room // run.num_classes)


def first_of_each(labels: Tensor, order: Tensor, number: int) -> Tensor:
    """The first positions [M] of an `order` [N], so many of each class at most, in that order."""
    known = labels[order]
    by_class = known.argsort(stable=True)
    starts = known.bincount().cumsum(0).roll(1)
    starts[:1] = 0
    rank = torch.empty_like(known)
    rank[by_class] = torch.arange(len(known), device=known.device) - starts[known[by_class]]
    return order[rank < number]


@dataclass
class Past:
    """What is left of earlier tasks, as a task begins.

    `known` tells how many classes were after each task until this one. `arrived` [K] are the rows
    that each class had when it came, `room` the rows that memory may hold after this task. `method`
    and `run` are those of the task before, whose network is frozen.
    """

    known: tuple[int, ...]
    arrived: Tensor
    room: int
    method: Method = field(repr=False)
    run: Run = field(repr=False)
    used: bool = False

    @property
    def old(self) -> int:
        """How many classes were known before."""
        return self.known[-1]

    @property
    def task(self) -> int:
        """The number of this task, from 0."""
        return len(self.known)

    @property
    def model(self) -> Any:
        """The network of the task before, which is not to be changed; using it is counted."""
        self.used = True
        assert isinstance(self.run.model, nn.Module)
        return self.run.model

    @torch.no_grad()
    def output(self, inputs: Tensor) -> Output:
        """What that network puts out for inputs [N, ...] as a network takes them."""
        return scored(self.model, self.run.through(self.model, inputs))

    @torch.no_grad()
    def scores(self, inputs: Tensor) -> Tensor:
        """Its scores [N, old] of such inputs as it was scored by: through combine and scores."""
        return self.method.scores(self.method.combine(self.output(inputs), self.run), self.run)

    def task_of(self, labels: Tensor) -> Tensor:
        """The task [N], from 0, in which the class of each label [N] arrived."""
        known = torch.tensor(self.known, device=labels.device)
        return torch.bucketize(labels, known, right=True)


@dataclass(frozen=True, kw_only=True)
class IncrementalGrants(Grants):
    """What the track grants: the `past`, which is None in the first task."""

    past: Past | None = None


def past_of(run: Run) -> Past | None:
    """What is left of earlier tasks; None in the first one, and on tracks without any."""
    return getattr(run.granted, "past", None)


def old_classes(run: Run) -> int:
    """How many classes were known before; none in the first task, and on other tracks."""
    past = past_of(run)
    return 0 if past is None else past.old
