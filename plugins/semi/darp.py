"""DARP: pseudo-labels brought to the pool's class counts (Kim et al., NeurIPS 2020)."""

from typing import Annotated

import torch
from msgspec import Meta

from ltbench import Positive, Share, hookimpl
from ltbench.tracks.semi.contract import POOL, SemiSupervised, room

Count = Annotated[int, Meta(ge=1)]
EPS = 1e-6
ROUNDS, SCALES = 30, (1.0, 0.3, 0.1, 0.01)  # of Newton's method; of its steps, the best is taken


class DARP(SemiSupervised):
    """Beliefs of all rows of the pool, as near to the network's as class counts of the pool allow.

    For each class the `alpha` times as many likeliest rows as it should have keep their belief in
    it. Then the sum over rows of KL(x || q) / H(q) is minimised, where rows sum to 1 and columns to
    the counts. It is done every so many steps (`every`) from the share `warmup` of training on. The
    counts are taken to fall as those of labelled rows do. Departures: the dual is solved by
    Newton's method for all classes at once, to which the code's rounds, a class at a time and to a
    tolerance of 0.1, come near; rows not met yet are believed to be of all classes alike.
    """

    name = "darp"
    reference = "arXiv:2007.08844"
    needs = frozenset({POOL})

    def __init__(self, alpha: Positive = 2.0, every: Count = 10, warmup: Share = 0.4):
        self.alpha, self.every, self.warmup = alpha, every, warmup

    def build(self, model, run):
        alike = run.counts.new_full((room(run), run.num_classes), 1 / run.num_classes)
        model.register_buffer("darp_predicted", alike)
        model.register_buffer("darp_refined", alike.clone())
        model.register_buffer("darp_steps", torch.zeros((), dtype=torch.long, device=run.device))
        return model

    def believe(self, probabilities, rows, run):
        model = run.model
        model.darp_predicted[rows] = probabilities
        if run.progress < self.warmup:
            model.darp_steps.zero_()
            return probabilities
        if model.darp_steps % self.every == 0:
            counts = run.counts / run.counts.sum() * len(model.darp_predicted)
            kept = selected(model.darp_predicted.double(), counts.double(), self.alpha)
            model.darp_refined.copy_(refined(kept, counts.double()))
        model.darp_steps += 1
        return model.darp_refined[rows]


def selected(believed, counts, alpha):
    """Beliefs [M, C] of which each class keeps its likeliest rows, scaled to its counts [C]."""
    mask, scale = selection(believed, counts, alpha)
    kept = believed * mask * scale + EPS
    return kept / kept.sum(dim=1, keepdim=True)


def selection(believed, counts, alpha):
    """Which rows [M, C] each class keeps, and what brings the sums of these to its counts."""
    place = believed.argsort(dim=0, descending=True, stable=True).argsort(dim=0)
    mask = place < (alpha * counts).long()
    return mask, (counts + EPS) / ((believed * mask).sum(dim=0) + EPS)


def refined(believed, counts):
    """The rows x [M, C] of sum 1 and columns of sum `counts` that are nearest to beliefs q.

    x is q exp(-nu H(q)) over its sum, with nu [C] at the least of a convex function.
    """
    doubt = -(believed * (believed + EPS).log()).sum(dim=1, keepdim=True)
    doubt = doubt.clamp(min=EPS)
    logs, nu = believed.log(), torch.zeros_like(counts)
    scales = counts.new_tensor(SCALES + (0.0,))

    def dual(nu):  # [..., C]
        inner = (logs - nu[..., None, :] * doubt).logsumexp(dim=-1)
        return (inner / doubt[:, 0]).sum(dim=-1) + nu @ counts

    for _ in range(ROUNDS):
        x = (logs - nu * doubt).softmax(dim=1)
        slope = counts - x.sum(dim=0)
        weighed = x * doubt
        curve = weighed.sum(dim=0).diag() - weighed.T @ x + EPS * torch.eye(len(nu)).to(x)
        tried = nu - scales[:, None] * torch.linalg.solve(curve, slope)
        nu = tried[dual(tried).argmin()]
    return (logs - nu * doubt).softmax(dim=1)


@hookimpl
def register_methods(register):
    register(DARP)
