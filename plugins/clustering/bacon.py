"""BaCon: self-balanced contrast and pseudo-labels of two branches (Bai et al., NeurIPS 2023)."""

import copy

import torch
from torch import nn
from torch.nn.functional import normalize

from ltbench import NonNegative, Share, hookimpl
from ltbench.tracks.clustering.contract import UNKNOWN, pool_of
from ltbench_plugins.clustering.estimates import STARTS, Estimated
from ltbench_plugins.clustering.k_means import Nearest, lloyd
from ltbench_plugins.clustering.simgcd import (
    STUDENT,
    SimGCD,
    contrast,
    distilled,
    projector,
    same_label,
    softly,
    unevenness,
)


class BaCon(Estimated, SimGCD):
    """A branch of pseudo-labels, and one of contrast whose k-means decides.

    The first learns SimGCD's distillation, with the mean prediction drawn to estimated sizes to the
    power `power`. The second learns InfoNCE, SupCon and a soft SupCon among the surest rows of each
    predicted class, kept at the rate (least size / size)^`rate`, which weighs pairs by the product
    of the first branch's predictions, less log sizes to the power `shift`. Departures: as in
    SimGCD; branches share what comes before the map; known classes are kept at the rate of the
    others; centres are of the pool's rows, where the code clusters the test rows; and new sizes go
    by predictions.
    """

    name = "bacon"
    reference = "arXiv:2310.01376"

    def __init__(
        self,
        w: Share = 0.35,
        power: NonNegative = 1.1,
        rate: NonNegative = 0.5,
        shift: NonNegative = 0.5,
        warm: NonNegative = 0.07,
        cold: NonNegative = 0.04,
    ):
        self.w, self.power, self.rate, self.shift = w, power, rate, shift
        self.warm, self.cold = warm, cold

    def build(self, model, run):
        width = model.head.in_features
        model.branch = Twofold(model.branch)
        model.head = Half(model.head)
        model = super().build(model, run)
        model.projector = projector(width)
        return model

    def unlabelled_loss(self, first, second, rows, run):
        labels, model = run.granted.labels[rows], run.model
        cosines = torch.stack([STUDENT * view.heads[0] for view in (first, second)])
        with torch.no_grad():
            teacher = self.teacher(cosines, run.progress)
            logits = cosines / STUDENT - self.shift * model.estimate.log()
            soft = logits.softmax(dim=-1).mean(dim=0)
            kept = (labels != UNKNOWN) | surest(soft, model.estimate, self.rate)
        free = distilled(cosines, teacher) + unevenness(cosines, model.estimate, self.power)
        views = [normalize(model.projector(self.kept(one.features))) for one in (first, second)]
        free = free + contrast(*views, 1.0)
        weights = (soft[kept] @ soft[kept].T).fill_diagonal_(1)
        balanced = softly(*(view[kept] for view in views), weights, 0.07)
        told = labels != UNKNOWN
        if not run.granted.told:
            return free + balanced / 2
        same = same_label(*(view[told] for view in views), labels[told])
        return (1 - self.w) / self.w * free + (same + balanced) / 2

    def kept(self, features):
        return features[:, features.shape[1] // 2 :]

    def finish(self, model, validation, run):
        pool = pool_of(run)
        if pool is not None:
            features = normalize(self.kept(run.features(pool)))
            model.head = OfContrast(Nearest(lloyd(features, run.num_classes, STARTS, run.seed)))
        return model


def surest(soft, shares, rate):
    """Which rows [M] stay: of each predicted class (least share / share)^rate, the surest."""
    sure, told = soft.max(dim=-1)
    number = told.bincount(minlength=len(shares))
    wanted = (number * (shares.min() / shares) ** rate - 1e-6).ceil()
    order = sure.argsort(descending=True, stable=True)
    order = order[told[order].argsort(stable=True)]
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    start = number.cumsum(0) - number
    return place - start[told] < wanted[told]


class Twofold(nn.Module):
    """A branch and its copy, features [N, D] of one beside those of the other."""

    def __init__(self, branch):
        super().__init__()
        self.first, self.second = branch, copy.deepcopy(branch)

    def forward(self, x):
        return torch.cat([self.first(x), self.second(x)], dim=1)


class Half(nn.Module):
    """A head on the first half of features."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    @property
    def in_features(self):
        return self.head.in_features

    @property
    def weight(self):
        return self.head.weight

    def forward(self, features):
        return self.head(features[:, : features.shape[1] // 2])


class OfContrast(nn.Module):
    """A head on the second half of features, of unit length."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, features):
        return self.head(normalize(features[:, features.shape[1] // 2 :]))


@hookimpl
def register_methods(register):
    register(BaCon)
