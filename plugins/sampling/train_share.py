"""The share of the rare class in training, swept (Pezzicoli et al., arXiv:2501.11638)."""

from typing import Annotated

import torch
from msgspec import Meta

from ltbench import LTBenchError, Method, Positive, Uniform, hookimpl


class TrainShare(Method):
    """Draws `size` rows, once and none twice, a share `p` of them of the rarer of two classes.

    In the paper, where a perceptron learns from another, the best share is not one half in general,
    and goes with the intrinsic share, the rows for each dimension and the noise of the labels. A
    sweep over `p` at one size asks that of other learners. Without a `size` as many rows are drawn
    as the rarer class has, which any share can have. At p 1/2 and twice that size this is
    `undersampling`, row for row; a larger share holds the rare rows of a smaller one. Shares are
    rounded to rows, of which each class keeps one. Training takes as many steps as plain training.
    """

    name = "train-share"
    reference = "arXiv:2501.11638"
    corrects = "prior"
    needs = frozenset({"two_classes"})
    space = {"p": Uniform(0.05, 0.9)}

    def __init__(self, p: Positive = 0.5, size: Annotated[int, Meta(ge=2)] | None = None):
        self.p = p
        self.size = size

    def resample(self, train, run):
        shuffled = torch.randperm(len(train), generator=run.rng, device=run.device)
        labels = train.labels[shuffled]
        classes = [shuffled[labels == c] for c in (0, 1)]
        there = [len(rows) for rows in classes]
        size = there[run.positive] if self.size is None else self.size
        taken = drawn(self.p, size, there, run.positive)
        return train[torch.cat([rows[:n] for rows, n in zip(classes, taken, strict=True)])]


def drawn(p, size, there, positive):
    """How many rows of each class to take, of so many `there`."""
    if p >= 1 or size < 2:
        raise LTBenchError(f"train-share: p={p}, size={size} leave a class without rows")
    rare = min(max(round(p * size), 1), size - 1)
    taken = [size - rare, size - rare]
    taken[positive] = rare
    for c in (0, 1):
        if taken[c] > there[c]:
            raise LTBenchError(
                f"train-share(p={p}) of {size} rows are {taken[c]} of class {c}, which has "
                f"{there[c]}: a smaller size is needed"
            )
    return taken


@hookimpl
def register_methods(register):
    register(TrainShare)
