"""SEED: one of several experts learns each task, all decide (Rypesc et al., ICLR 2024)."""

from dataclasses import replace
from typing import Annotated

import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import nn

from ltbench import Positive, Share, hookimpl
from ltbench.tracks.incremental.contract import old_classes, past_of
from ltbench_plugins.incremental.finetune import ExemplarFree, of_task


class SEED(ExemplarFree):
    """Experts with a Gaussian of each class in their features; a new task is one expert's to learn.

    Each of the first tasks is learned by an expert of its own, which begins as the first one. From
    then on that expert learns the task in whose features its new classes lie furthest apart, by the
    mean of KL(N_n || N_o) over ordered pairs, with 1 - `anchoring` times cross-entropy over the new
    classes plus `anchoring` times the mean square by which features leave those of before, and
    BatchNorm in evaluation mode. Every expert that is there keeps mean and covariance of each new
    class. A row's score for a class is the mean, over the experts that know it, of the softmax of
    log densities over a temperature.

    Values are the code's but for three experts, not five. Departures: Gaussians are of rows without
    their mirror images; a covariance is drawn by `shrinkage` to its mean variance, as classes
    of few rows have singular ones, where the code adds to the diagonal until it can be factorised.
    """

    name = "seed"
    reference = "arXiv:2401.10191"

    def __init__(
        self,
        experts: Annotated[int, Meta(ge=1)] = 3,
        anchoring: Share = 0.99,
        temperature: Positive = 3.0,
        shrinkage: Share = 0.9,
    ):
        self.experts = experts
        self.anchoring = anchoring
        self.temperature = temperature
        self.shrinkage = shrinkage

    def learning(self, run):
        """Whether the task is one that an expert learns that knows others."""
        past = past_of(run)
        return past is not None and past.task >= self.experts

    def phases(self, plan, run):
        frozen = self.learning(run)
        return [replace(phase, frozen_bn=True) for phase in plan] if frozen else plan

    def enter(self, train, run):
        if not old_classes(run):
            self.networks, self.means, self.covariances = [], [], []
        self.chosen = len(self.networks)
        if self.learning(run):
            spread = [divergence(*self.gaussians(one, train, run)) for one in self.networks]
            self.chosen = int(torch.stack(spread).argmax())
        if self.networks:
            begun = self.networks[self.chosen if self.learning(run) else 0]
            own = run.model.state_dict()
            own |= {n: t for n, t in begun.state_dict().items() if not n.startswith("head.")}
            run.model.load_state_dict(own)
        return train

    def adjust(self, scores, labels, run):
        return of_task(scores, run)

    def criterion(self, scores, labels, run):
        losses = F.cross_entropy(scores, labels, reduction="none")
        return (1 - self.anchoring) * losses if self.learning(run) else losses

    def extra(self, output, batch, run):
        if not self.learning(run):
            return None
        with torch.no_grad():
            before = run.through(self.networks[self.chosen], batch.inputs)
        return self.anchoring * F.mse_loss(output.features, before)

    def finish(self, model, validation, run):
        if self.chosen == len(self.networks):
            self.networks.append(model)
            like = next(model.parameters()).new_zeros(0)
            self.means.append(like)
            self.covariances.append(like)
        self.networks[self.chosen] = model
        for k, network in enumerate(self.networks):
            mean, covariance = self.gaussians(network, run.train, run)
            self.means[k] = joined(self.means[k], mean)
            self.covariances[k] = joined(self.covariances[k], covariance)
        return Experts(self.networks, self.means, self.covariances, self.temperature)

    def gaussians(self, network, rows, run):
        """Mean and covariance of each new class in the features of an expert."""
        parts = [run.through(network, run.plain(part)) for part in rows.portions()]
        new = rows.labels - old_classes(run), run.num_classes - old_classes(run)
        return gaussians(torch.cat(parts), *new, self.shrinkage)


class Experts(nn.Module):
    """The features of all experts, one after the other, and a head that weighs densities."""

    def __init__(self, networks, means, covariances, temperature):
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.head = BayesHead(means, covariances, temperature)

    def features(self, x):
        return torch.cat([network.features(x) for network in self.networks], dim=1)

    def forward(self, x):
        return self.head(self.features(x))


class BayesHead(nn.Module):
    """The logarithm of the mean share [N, C] that experts give each class; see `shares`."""

    def __init__(self, means, covariances, temperature):
        super().__init__()
        self.temperature = temperature
        classes, width = max(map(len, means)), means[0].shape[1]
        self.in_features = len(means) * width
        like = means[0].double()
        mean = like.new_zeros(len(means), classes, width)
        factor = torch.eye(width).to(like).repeat(len(means), classes, 1, 1)
        known = torch.zeros(len(means), classes, dtype=torch.bool, device=like.device)
        for k, (own, covariance) in enumerate(zip(means, covariances, strict=True)):
            mean[k, -len(own) :] = own
            factor[k, -len(own) :] = torch.linalg.cholesky(positive(covariance.double()))
            known[k, -len(own) :] = True
        self.register_buffer("mean", mean)
        self.register_buffer("factor", factor)
        self.register_buffer("known", known)

    def forward(self, features):
        each = features.double().view(len(features), len(self.mean), -1)
        found = shares(each, self.mean, self.factor, self.known, self.temperature)
        return found.clamp(min=torch.finfo(features.dtype).tiny).log().to(features)


def shares(features, means, factors, known, temperature):
    """The share [N, C] of each class, the mean over the experts that know it.

    Each of E experts has features [N, E, D], means [E, C, D] and Cholesky factors [E, C, D, D] of
    classes, of which it knows some [E, C]; among those it has a softmax of log densities over the
    temperature.
    """
    gap = (features[:, :, None] - means).permute(1, 2, 3, 0)  # [E, C, D, N]
    scaled = torch.linalg.solve_triangular(factors, gap, upper=False)
    logs = -scaled.square().sum(dim=2) / 2  # [E, C, N], but for what is the same for all classes
    logs = logs - factors.diagonal(dim1=2, dim2=3).log().sum(dim=2)[:, :, None]
    logs = (logs / temperature).masked_fill(~known[:, :, None], -torch.inf)
    return (logs.softmax(dim=1).sum(dim=0) / known.sum(dim=0)[:, None]).T


def gaussians(features, labels, classes, shrinkage):
    """Means [C, D] and covariances [C, D, D] of classes, of which a share is a sphere.

    That has the mean variance of the class, or, of a class of one row, that of all others.
    """
    number = labels.bincount(minlength=classes)[:, None]
    means = features.new_zeros(classes, features.shape[1]).index_add(0, labels, features)
    means = means / number.clamp(min=1)
    gap, member = features - means[labels], F.one_hot(labels, classes).to(features)
    spread = torch.einsum("nc,nd,ne->cde", member, gap, gap) / (number - 1).clamp(min=1)[:, :, None]
    variance, told = spread.diagonal(dim1=1, dim2=2).mean(dim=1), number[:, 0] > 1
    usual = variance[told].mean() if told.any() else variance.new_ones(())
    sphere = torch.where(told, variance, usual)[:, None, None] * torch.eye(len(means[0])).to(spread)
    share = torch.where(told, shrinkage, 1.0).to(spread)[:, None, None]
    return means, positive((1 - share) * spread + share * sphere)


def positive(spread):
    """Covariances [C, D, D] with as much on each diagonal, from 1e-8 in tens, as they can be
    factorised with."""
    jitter, eye = 1e-8, torch.eye(spread.shape[-1]).to(spread)
    while True:
        wrong = torch.linalg.cholesky_ex(spread).info > 0
        if not wrong.any():
            return spread
        spread = spread + jitter * wrong[:, None, None] * eye
        jitter *= 10


def divergence(means, covariances):
    """The mean of KL(N_n || N_o) over all ordered pairs of Gaussians, themselves included."""
    means, factors = means.double(), torch.linalg.cholesky(positive(covariances.double()))
    size, width = means.shape
    logs = 2 * factors.diagonal(dim1=1, dim2=2).log().sum(1)
    own = factors.expand(size, *factors.shape)  # [o, n, D, D], of n
    other = factors[:, None].expand_as(own)
    trace = torch.linalg.solve_triangular(other, own, upper=False).square().sum((2, 3))
    gap = (means[None] - means[:, None])[..., None]
    away = torch.linalg.solve_triangular(other, gap, upper=False).square().sum((2, 3))
    return ((trace + away - width + logs[:, None] - logs[None]) / 2).mean()


def joined(before, new):
    return torch.cat([before, new]) if len(before) else new


@hookimpl
def register_methods(register):
    register(SEED)
