"""ProtoGCD: prototypes that stand apart, labels soft and hard (Ma et al., TPAMI 2025)."""

import math
from typing import Literal

import torch
from torch.nn.functional import normalize, one_hot

from ltbench import NonNegative, Share, hookimpl
from ltbench.models.heads import head_weights
from ltbench_plugins.clustering.estimates import Estimated
from ltbench_plugins.clustering.simgcd import SimGCD, unevenness

SURE = 1e-6  # added to the second probability


class ProtoGCD(Estimated, SimGCD):
    """SimGCD whose surest labels are hard, and whose prototypes are kept apart.

    In each view the share of rows with the largest ratio of first to second probability have hard
    labels, from 0.2 of them at first to all from half of the training on. `apart` weighs
    the mean over prototypes of log mean exp of the cosines with the others over 0.1. The mean
    prediction is to be even, or with `prior` "estimated" as k-means of all rows estimates sizes.
    Departures: as in SimGCD.
    """

    name = "protogcd"
    reference = "arXiv:2504.03755"

    def __init__(
        self,
        w: Share = 0.35,
        entropy: NonNegative = 2.0,
        apart: NonNegative = 1.0,
        prior: Literal["even", "estimated"] = "even",
    ):
        self.w, self.entropy, self.apart, self.prior = w, entropy, apart, prior

    def teacher(self, cosines, progress):
        ramp = 0.2 + 0.8 * (2 * progress).clamp(max=1)
        return hardened((cosines / 0.05).softmax(dim=-1), ramp)

    def regulariser(self, cosines, run):
        shares = run.model.estimate if self.prior == "estimated" else None
        even = unevenness(cosines, shares)
        return self.entropy * even + self.apart * nearness(head_weights(run.model))

    @property
    def estimates(self):
        return self.prior == "estimated"


def hardened(soft, share):
    """Labels [2, M, C], of which the surest share of rows in each view is one-hot."""
    first, second = soft.topk(2, dim=-1).values.unbind(dim=-1)
    ratio = first / (second + SURE)
    place = ratio.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    sure = place < (soft.shape[1] * share + 1e-6).floor()
    return torch.where(sure[..., None], one_hot(soft.argmax(dim=-1), soft.shape[-1]), soft)


def nearness(prototypes):
    """The mean over prototypes [C, D] of the log of the mean exp(cosine / 0.1) with the others."""
    unit = normalize(prototypes)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    alike = (unit @ unit.T / 0.1).masked_fill(itself, -torch.inf)
    return alike.logsumexp(dim=1).mean() - math.log(max(len(unit) - 1, 1))


@hookimpl
def register_methods(register):
    register(ProtoGCD)
