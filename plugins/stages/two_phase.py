"""Two-phase training: balanced rows first, then the classifier on all rows (Buda et al., 2018)."""

from dataclasses import replace
from typing import Literal

import torch

from ltbench import LogUniform, Method, Positive, Share, hookimpl


class TwoPhase(Method):
    """Trains with classes equally common, then the last layer alone on the rows as they are.

    The mirror image of classifier re-training: features are balanced, the classifier meets the
    prior again. Classes are balanced by drawing rare rows more often, or by keeping of each class
    as many rows as the smallest has. The classifier goes on from the first phase at `rate` of its
    learning rate, and BatchNorm keeps its statistics. `share`, the second phase in first ones,
    is our choice.
    """

    name = "two-phase"
    reference = "arXiv:1710.05381"
    space = {"rate": LogUniform(0.01, 1.0)}

    def __init__(
        self,
        balance: Literal["oversampling", "undersampling"] = "oversampling",
        share: Share = 1 / 9,
        rate: Positive = 0.1,
    ):
        self.balance = balance
        self.share = share
        self.rate = rate

    def phases(self, plan, run):
        last = plan[-1]
        epochs = max(1, round(self.share * last.epochs))
        stage = {"epochs": epochs, "lr": self.rate * last.lr, "learn": "head", "frozen_bn": True}
        return [*plan, replace(last, role="head", reset=None, **stage)]

    def enter(self, train, run):
        if self.balance == "oversampling":
            return train
        shuffled = torch.randperm(len(train), generator=run.rng, device=run.device)
        by_class = shuffled[train.labels[shuffled].argsort(stable=True)]
        counts = train.labels.bincount()
        start = counts.cumsum(0) - counts
        place = torch.arange(len(train), device=run.device) - start[train.labels[by_class]]
        return train[by_class[place < counts.min()]]

    def sampling_weights(self, labels, run):
        return (1 / labels.bincount())[labels] if self.balance == "oversampling" else None


@hookimpl
def register_methods(register):
    register(TwoPhase)
