"""P2OT: pseudo-labels by progressive partial optimal transport (Zhang, Ren and He, ICLR 2024)."""

import math
from typing import Annotated

import torch
from msgspec import Meta
from torch import nn
from torch.nn.functional import log_softmax

from ltbench import NonNegative, Positive, Share, hookimpl
from ltbench.models.heads import CosineHead
from ltbench.tracks.clustering.contract import POOL, Clustering

Count = Annotated[int, Meta(ge=1)]
ROUNDS, NEAR = 100, 1e-9  # of a plan: at most so many, or until the shares of columns are so near
LEAST, MOST, RIDGE = 1e-300, 100.0, 1e-12  # a mass that is there; of Newton's steps


class P2OT(Clustering):
    """Each view of a row learns the soft label of the other, which a transport plan gives.

    The plan moves a share `rho_t` of the mass of all rows of a step to the clusters, at the cost
    -log p; the rest stays where it is, so a row's label sums to its weight. `gamma` says how near
    the clusters stay to equal sizes. rho_t rises from `rho` to 1 as
    rho + (1 - rho) exp(-5 (1 - t)^2). Of several `heads` the one of the least loss stays.
    Departures: a plan is over the rows of a step, where the code adds the scores of ten batches
    before; the head whose last loss over rho_t is least stays, not that of the best epoch.
    """

    name = "p2ot"
    reference = "arXiv:2401.09266"
    needs = frozenset({POOL})

    def __init__(
        self,
        rho: Share = 0.1,
        gamma: Positive = 1.0,
        epsilon: Positive = 0.1,
        heads: Count = 2,
        weight: NonNegative = 1.0,
    ):
        self.rho, self.gamma, self.epsilon = rho, gamma, epsilon
        self.heads, self.weight = heads, weight

    def build(self, model, run):
        width, scale = model.head.in_features, getattr(model.head, "scale", 10.0)
        model.head = Heads(CosineHead(width, run.num_classes, scale) for _ in range(self.heads))
        return model

    def unlabelled_loss(self, first, second, rows, run):
        scores = torch.stack([torch.stack(view.heads) for view in (first, second)])
        share = self.moved(run.progress)
        with torch.no_grad():
            plans = self.plans(scores.double(), share.double(), rows, run).to(scores)
        losses = -(plans.flip(0) * log_softmax(scores, dim=-1)).sum(dim=-1).mean(dim=2).sum(dim=0)
        run.model.head.losses.copy_(losses.detach() / share)
        return self.weight * losses.sum()

    def moved(self, progress):
        """The share of mass that is moved at a time in 0..1."""
        return self.rho + (1 - self.rho) * (-5 * (1 - progress) ** 2).exp()

    def plans(self, scores, share, rows, run):
        """The labels [2, heads, M, C] of two views, of their scores."""
        cost, head = -log_softmax(scores, dim=-1), run.model.head
        plan, head.columns = transported(cost, share, self.gamma, self.epsilon, head.columns)
        return plan

    def finish(self, model, validation, run):
        if isinstance(model.head, Heads):  # else another method has put its own there
            model.head = model.head.best
        return model


class Heads(nn.Module):
    """Several heads on one network, with their last losses [heads] and where the scaling of plans
    stood, `columns` [2, heads, 1, C + 1], at which the next begins."""

    def __init__(self, heads):
        super().__init__()
        self.each = nn.ModuleList(heads)
        classes = len(self.each[0].weight)
        self.register_buffer("losses", torch.zeros(len(self.each)))
        start = torch.zeros(2, len(self.each), 1, classes + 1, dtype=torch.float64)
        self.register_buffer("columns", start)

    @property
    def in_features(self):
        return self.each[0].in_features

    @property
    def best(self):
        """The head of the least loss."""
        return self.each[int(self.losses.argmin())]

    def forward(self, features):
        return tuple(head(features) for head in self.each)


def transported(cost, share, gamma, epsilon, columns=None):
    """Soft labels [..., M, C] that move `share` of M rows at a `cost` [..., M, C], and where the
    scaling of the columns [..., 1, C + 1] ended, which may begin another.

    It is entropic, `epsilon` strong; rows sum to 1 with a slack column of cost 0, of exactly
    1 - share, the others are drawn to share / C each, `gamma` strong. All is done with logarithms.
    Between rounds of scaling stand Newton's steps on the same equations, kept where they lead
    nearer: the plan is that of scaling alone, in fewer rounds.
    """
    classes = cost.shape[-1]
    share = torch.as_tensor(share, dtype=cost.dtype, device=cost.device)
    kernel = torch.cat([-cost / epsilon, torch.zeros_like(cost[..., :1])], dim=-1)
    slack = (1 - share).clamp(min=LEAST)[None]
    wanted = torch.cat([(share / classes).expand(classes), slack])
    slope = torch.full_like(wanted, epsilon / gamma)
    slope[-1] = 0
    if columns is None:
        columns = torch.zeros_like(kernel[..., :1, :])
    for _ in range(ROUNDS):
        columns = scaled(kernel, wanted, slope, columns)
        plan, gap = off(kernel, wanted, slope, columns)
        if gap.abs().sum(dim=-1).max() < NEAR:
            break
        further = columns - newton(plan, gap, wanted, slope, columns)
        after = off(kernel, wanted, slope, further)[1]
        nearer = after.abs().sum(dim=-1) < gap.abs().sum(dim=-1)
        columns = torch.where(nearer[..., None], further, columns)
    return (kernel + columns).softmax(dim=-1)[..., :-1], columns


def scaled(kernel, wanted, slope, columns):
    """The columns [..., 1, C + 1] after one round of scaling, of rows and then of columns."""
    lines = (kernel + columns).logsumexp(dim=-1, keepdim=True)
    mass = (kernel - lines).logsumexp(dim=-2, keepdim=True) - math.log(kernel.shape[-2])
    return (wanted.log() - mass) / (1 + slope)


def off(kernel, wanted, slope, columns):
    """The plan [..., M, C + 1] whose rows sum to 1, and how far the shares [..., 1, C + 1] of its
    columns are from those that a further round would leave."""
    plan = (kernel + columns).softmax(dim=-1)
    return plan, plan.mean(dim=-2, keepdim=True) - wanted * (-slope * columns).exp()


def newton(plan, gap, wanted, slope, columns):
    """Newton's step, with which a gap [..., 1, C + 1] would close if it were linear."""
    own = gap + (1 + slope) * wanted * (-slope * columns).exp()
    bend = torch.diag_embed(own[..., 0, :]) - plan.mT @ plan / plan.shape[-2]
    bend = bend + RIDGE * torch.eye(len(wanted)).to(bend)
    return torch.linalg.solve_ex(bend, gap.mT).result.mT.clamp(-MOST, MOST)


@hookimpl
def register_methods(register):
    register(P2OT)
