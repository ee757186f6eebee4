"""RankSim: features rank their neighbours as values do (Gong et al., ICML 2022)."""

import torch

from ltbench import LogUniform, NonNegative, Positive, hookimpl
from ltbench.tracks.regression.contract import Regression


class RankSim(Regression):
    """Adds the squared gap between the ranks of cosines of features and those of nearness of
    values, row against row.

    One row of each bin that a batch has takes part, drawn anew; in the paper it is one of each
    value, which ages repeat and other numbers do not. Ranks have the blackbox slope of Vlastelica
    et al. (ICLR 2020). As in the released code the gap is a mean over columns and a sum over rows,
    so that `weight` belongs to the number of bins in a batch; its default is our choice.
    """

    name = "ranksim"
    reference = "arXiv:2205.15236"
    neutral = {"weight": 0.0}
    space = {"weight": LogUniform(0.001, 100.0)}

    def __init__(self, weight: NonNegative = 0.01, smoothness: Positive = 2.0):
        self.weight = weight
        self.smoothness = smoothness

    def extra(self, output, batch, run):
        if self.weight == 0:
            return None
        values, n = batch.targets[0][0], len(batch.rows)
        rows = one_of_each(run.granted.bins(values), run)
        gap = rank_gap(output.features[:n][rows], values[rows], self.smoothness)
        return self.weight * gap


def one_of_each(bins, run):
    """The place of a row of each bin among bins [N], drawn."""
    order = torch.randperm(len(bins), generator=run.rng, device=bins.device)
    first = torch.full((run.num_classes,), len(bins), device=bins.device)
    first.scatter_reduce_(0, bins[order], torch.arange(len(bins), device=bins.device), "amin")
    return order[first[first < len(bins)]]


def rank_gap(features, values, smoothness):
    """How far ranks by cosines of features [M, D] are from those by nearness of values [M]."""
    unit = torch.nn.functional.normalize(features, dim=1)
    near = -(values[:, None] - values).abs()
    ranks = BlackboxRanks.apply(unit @ unit.T, smoothness)
    return ((ranks - shares_of_rank(near)) ** 2).mean(dim=1).sum()


def shares_of_rank(scores):
    """The rank of each entry in its row [M, M] divided by M; 1 / M is the largest, and of equal
    ones the first."""
    order = scores.argsort(dim=1, descending=True, stable=True)
    ranks = torch.empty_like(scores)
    places = torch.arange(1, scores.shape[1] + 1, device=scores.device).to(scores)
    return ranks.scatter_(1, order, places.expand_as(scores) / scores.shape[1])


class BlackboxRanks(torch.autograd.Function):
    """Ranks, with the slope of a piecewise linear function between two of them."""

    @staticmethod
    def forward(ctx, scores, smoothness):
        ranks = shares_of_rank(scores)
        ctx.save_for_backward(scores, ranks)
        ctx.smoothness = smoothness
        return ranks

    @staticmethod
    def backward(ctx, slope):
        scores, ranks = ctx.saved_tensors
        moved = shares_of_rank(scores + ctx.smoothness * slope)
        return -(ranks - moved) / ctx.smoothness, None


@hookimpl
def register_methods(register):
    register(RankSim)
