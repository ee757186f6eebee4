"""SP2OT: partial transport that keeps neighbours together (Zhang, Ren and He, 2024)."""

import torch

from ltbench import NonNegative, Positive, Share, hookimpl
from ltbench.tracks.clustering.contract import pool_of
from ltbench_plugins.clustering.p2ot import P2OT, Count, log_softmax, transported

STILL = 1e-6  # plans are made until the objective moves less


class SP2OT(P2OT):
    """P2OT whose plans are also paid for rows that share a cluster with their `neighbours`.

    From the cost is taken lambda <S, P P'>, with S the likeness of features before training, of
    each row's nearest alone, and lambda = (1 - rho_t) `strength`. In its place
    stands its tangent, so that each of a few plans is one of P2OT with the cost less
    lambda (S + S') P. As S has no diagonal, that is no bound, and the objective may rise.
    Departures: as in P2OT; a plan here sums to the share of rows that is moved, so that
    `strength` is the code's 1000 over the 5120 rows that its plans are over; and tangents begin
    where the plan of the step before ended, with at most `rounds` of them, where the code begins
    with equal shares and makes up to 100.
    """

    name = "sp2ot"
    reference = "arXiv:2404.03446"

    def __init__(
        self,
        rho: Share = 0.1,
        gamma: Positive = 1.0,
        epsilon: Positive = 0.1,
        strength: NonNegative = 0.2,
        neighbours: Count = 20,
        rounds: Count = 5,
        heads: int = 2,
        weight: NonNegative = 1.0,
    ):
        super().__init__(rho, gamma, epsilon, heads, weight)
        self.strength, self.neighbours, self.rounds = strength, neighbours, rounds

    def build(self, model, run):
        pool = pool_of(run)
        if pool is not None:
            run.model = model
            near = likeness(run.features(pool).double(), self.neighbours)
            model.register_buffer("near", near, persistent=False)
            equal = near.new_full((2, self.heads, len(near), run.num_classes), 1 / run.num_classes)
            model.register_buffer("plan", equal * self.rho)
        return super().build(model, run)

    def plans(self, scores, share, rows, run):
        cost, model = -log_softmax(scores, dim=-1), run.model
        near = model.near if len(rows) == len(model.near) else model.near[rows[:, None], rows]
        plan, model.head.columns = together(
            cost,
            near + near.mT,
            (1 - share) * self.strength,
            share,
            self.gamma,
            self.epsilon,
            model.plan[:, :, rows],
            model.head.columns,
            self.rounds,
        )
        model.plan[:, :, rows] = plan
        return plan


def together(cost, near, pull, share, gamma, epsilon, plan, columns=None, rounds=100):
    """Soft labels [..., M, C] of partial transport, that rows near to each other share.

    `near` [M, M] is S + S', `pull` lambda, `plan` where the first tangent lies. At most so many
    `rounds` end where the objective of no plan moves.
    """
    before = torch.inf
    for _ in range(rounds):
        tilted = cost - pull * times(near, plan)
        plan, columns = transported(tilted, share, gamma, epsilon, columns)
        now = objective(cost, near, pull, epsilon, plan)
        if (now - before).abs().max() < STILL:
            break
        before = now
    return plan, columns


def objective(cost, near, pull, epsilon, plan):
    """What a plan [..., M, C] costs a row: its cost, less what it is paid, and its entropy."""
    paid = pull / 2 * (plan * times(near, plan)).sum(dim=(-1, -2))
    spread = torch.xlogy(plan, plan).sum(dim=(-1, -2))
    return ((cost * plan).sum(dim=(-1, -2)) - paid + epsilon * spread) / plan.shape[-2]


def times(near, plan):
    """The product of `near` [M, M] with each plan [..., M, C]."""
    wide = plan.movedim(-2, 0)
    return (near @ wide.flatten(1)).view(wide.shape).movedim(0, -2)


def likeness(features, neighbours):
    """exp(-|h - h'|^2 / 8D) [M, M] of features [M, D], of each row's `neighbours` nearest alone."""
    rows, width = features.shape
    near = (-torch.cdist(features, features).square() / (8 * width)).exp().fill_diagonal_(0)
    kept = near.topk(min(neighbours, rows), dim=1)
    return torch.zeros_like(near).scatter_(1, kept.indices, kept.values)


@hookimpl
def register_methods(register):
    register(SP2OT)
