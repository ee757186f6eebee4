"""Recursive ridge regression on a frozen network: ACIL, AIR and AEF-OCL."""

import math
from dataclasses import replace
from typing import Annotated

import torch
from msgspec import Meta
from torch import nn
from torch.nn.functional import one_hot

from ltbench import LogUniform, Positive, hookimpl
from ltbench.tracks.incremental.contract import old_classes
from ltbench_plugins.incremental.finetune import ExemplarFree

AtLeastOne = Annotated[int, Meta(ge=1)]
AT_ONCE = 128  # rows that the inverse takes at a time; any number gives the same


class ACIL(ExemplarFree):
    """Trains on the first task, then solves a ridge regression that takes new rows up exactly.

    Features f become h = relu(f U), for U drawn once, uniformly, [D, `width`]. For targets Y of one
    and zero and R = (H'H + `gamma` I)^-1 over all rows so far, the head is h R H'Y: new rows h
    change R by R -= R h'(I + h R h')^-1 h R and W by W += R h'(Y - h W), in float64, and nothing
    but R and W is kept of them. So it ends as if all rows had been there at once. From the second
    task on the network learns no more. `width` is 8192 in the code, whose R takes 512 MiB.

    TACLE (WACV 2025), which aligns a head among Gaussians of each class, asks for unlabelled rows
    in each task and a trunk that was trained before, and is left out.
    """

    name = "acil"
    reference = "arXiv:2205.14922"
    space = {"gamma": LogUniform(1e-3, 100.0)}

    def __init__(self, width: AtLeastOne = 1024, gamma: Positive = 0.1):
        self.width = width
        self.gamma = gamma

    def phases(self, plan, run):
        if not old_classes(run):
            return plan
        return [replace(phase, epochs=0) for phase in plan]

    def remember(self, train, room, run):
        features = run.features(train.inputs).double()
        if not old_classes(run):
            self.expansion = expansion(features.shape[1], self.width, run)
            self.begin(features)
        self.take(features, train.labels, run)
        run.model.head = RidgeHead(self.expansion, self.solved(run))
        return super().remember(train, room, run)

    def begin(self, features):
        self.inverse = torch.eye(self.width).to(features) / self.gamma
        self.weights = features.new_zeros(self.width, 0)

    def take(self, features, labels, run):
        self.weights = widened(self.weights, run.num_classes)
        hidden = (features @ self.expansion).relu()
        self.inverse, self.weights = recursed(self.inverse, self.weights, hidden, labels)

    def solved(self, run):
        return self.weights


class AEFOCL(ACIL):
    """ACIL, whose head is solved once more with made-up rows that even out the classes.

    Means and standard deviations of each class's features are kept. After each task a copy of R and
    W takes up mean + std N(0, 1) of each class until all have as many rows as the largest, and is
    what predicts; the next task goes on without them. A class of one row has no spread. Departure:
    the variance that rounding makes negative is 0, where the code stops.
    """

    name = "aef-ocl"
    reference = "github.com/ZHUANGHP/Analytic-continual-learning"
    corrects = "prior"

    def begin(self, features):
        super().begin(features)
        self.rows = features.new_zeros(0)
        self.sums = self.squares = features.new_zeros(0, features.shape[1])

    def take(self, features, labels, run):
        super().take(features, labels, run)
        classes = run.num_classes
        self.rows = grown(self.rows, classes) + labels.bincount(minlength=classes)
        self.sums = grown(self.sums, classes).index_add(0, labels, features)
        self.squares = grown(self.squares, classes).index_add(0, labels, features.square())

    def solved(self, run):
        mean, spread = spreads(self.rows, self.sums, self.squares)
        lacking = (self.rows.max() - self.rows).long()
        labels = torch.arange(len(lacking), device=lacking.device).repeat_interleave(lacking)
        noise = torch.randn(len(labels), mean.shape[1], generator=run.rng, device=run.rng.device)
        hidden = ((mean[labels] + spread[labels] * noise.to(mean)) @ self.expansion).relu()
        return recursed(self.inverse, self.weights, hidden, labels)[1]


class AIR(ACIL):
    """Ridge regression in which each class counts the same (Fang et al., 2024).

    H'H and H'Y are kept by class, so that the solution of (sum_c w_c H_c'H_c + `gamma` I) W =
    (w_c H_c'Y_c) can have weights w_c that go with 1 / n_c, their mean one, of the counts as they
    stand. It takes a matrix [`width`, `width`] for each class.
    """

    name = "air"
    reference = "arXiv:2408.10349"
    corrects = "prior"

    def begin(self, features):
        self.rows = features.new_zeros(0)
        self.products = features.new_zeros(0, self.width, self.width)
        self.sums = features.new_zeros(0, self.width)

    def take(self, features, labels, run):
        hidden, classes = (features @ self.expansion).relu(), run.num_classes
        self.rows = grown(self.rows, classes) + labels.bincount(minlength=classes)
        self.sums = grown(self.sums, classes).index_add(0, labels, hidden)
        self.products = grown(self.products, classes)
        for c in labels.unique():
            own = hidden[labels == c]
            self.products[c] += own.T @ own

    def solved(self, run):
        return reweighted(self.products, self.sums, self.rows, self.gamma)


class RidgeHead(nn.Module):
    """Scores relu(f U) W [N, C] of features f [N, D], in float64 within."""

    def __init__(self, expansion, weights):
        super().__init__()
        self.in_features = len(expansion)
        self.register_buffer("expansion", expansion)
        self.register_buffer("weights", weights.clone())

    def forward(self, features):
        hidden = (features.to(self.expansion) @ self.expansion).relu()
        return (hidden @ self.weights).to(features)


def expansion(features, width, run):
    """U [D, width], uniform as torch draws a linear layer's weights; in float64."""
    drawn = torch.rand(features, width, generator=run.rng, device=run.rng.device)
    return (2 * drawn.double() - 1).to(run.counts.device) / math.sqrt(features)


def recursed(inverse, weights, hidden, labels):
    """R [H, H] and W [H, C] once rows h [N, H] with labels [N] are taken up."""
    targets = one_hot(labels, weights.shape[1]).to(hidden)
    for h, y in zip(hidden.split(AT_ONCE), targets.split(AT_ONCE), strict=True):
        gain = inverse @ h.T
        inner = torch.eye(len(h)).to(h) + h @ gain
        inverse = inverse - gain @ torch.linalg.solve(inner, gain.T)
        weights = weights + inverse @ h.T @ (y - h @ weights)
    return inverse, weights


def reweighted(products, sums, rows, gamma):
    """W [H, C] of products [C, H, H] and sums [C, H] of the rows of classes, so many [C] each."""
    share = 1 / rows.clamp(min=1)
    weight = share / share.mean()
    whole = torch.einsum("c,cij->ij", weight, products)
    ridge = gamma * torch.eye(len(whole)).to(whole)
    return torch.linalg.solve(whole + ridge, (weight[:, None] * sums).T)


def spreads(rows, sums, squares):
    """Mean and unbiased standard deviation [C, D] of each class; no spread of one row."""
    n = rows.clamp(min=1)[:, None]
    mean = sums / n
    variance = (squares - n * mean.square()).clamp(min=0) / (n - 1).clamp(min=1)
    return mean, torch.where(n > 1, variance.sqrt(), 0)


def widened(weights, classes):
    """Weights [H, C] with columns of zero for new classes."""
    return grown(weights.T, classes).T


def grown(values, classes):
    """Values [C, ...] with rows of zero for new classes."""
    new = values.new_zeros(classes - len(values), *values.shape[1:])
    return torch.cat([values, new])


@hookimpl
def register_methods(register):
    register(ACIL)
    register(AEFOCL)
    register(AIR)
