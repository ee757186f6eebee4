"""SimPro: class shares of the pool are learned with the network (Du et al., ICML 2024)."""

import torch
from torch.nn.functional import cross_entropy

from ltbench import NonNegative, Share, hookimpl
from ltbench.tracks.semi.contract import POOL, SemiSupervised, pool_of


class SimPro(SemiSupervised):
    """Soft labels softmax(z + tau log pi_u) of weak views, learned by z + tau log pi_all.

    pi_u are the shares of classes in the pool, pi_all of all rows, both held as exponential means
    of what was believed. Labelled rows see tau log pi_all too, so that z itself is of classes alike
    and decides. Departures: shares move once for each time as many rows passed as the pool has
    (the code's epoch is 500 steps); labelled rows count as often as they are expected to come; one
    strong view; and the loss of the pool is times the steps in which the pool passes, over those in
    which labelled rows do, where the code divides the labelled loss by that.
    """

    name = "simpro"
    reference = "arXiv:2402.13505"
    needs = frozenset({POOL})
    corrects = "prior"

    def __init__(self, tau: NonNegative = 2.0, threshold: NonNegative = 0.95, ema: Share = 0.9):
        self.tau, self.threshold, self.ema = tau, threshold, ema

    def build(self, model, run):
        classes = run.num_classes
        model.register_buffer("pool_shares", torch.full_like(run.counts, 1 / classes))
        model.register_buffer("all_shares", run.counts / run.counts.sum())
        model.register_buffer("pool_mass", torch.zeros_like(run.counts))
        model.register_buffer("pool_passed", run.counts.new_zeros(()))
        return model

    def adjust(self, scores, labels, run):
        return scores + self.tau * self.shares(run).log()

    def shares(self, run):
        held = getattr(run.model, "all_shares", None)
        return run.counts / run.counts.sum() if held is None else held

    def unlabelled_loss(self, weak, strong, rows, run):
        model, granted = run.model, run.granted
        soft = (weak.heads[0] + self.tau * model.pool_shares.log()).softmax(dim=1)
        soft = run.recipe.believe(soft, rows, run)
        sure = (soft.max(dim=1).values >= self.threshold).to(soft)
        scores = strong.heads[0] + self.tau * model.all_shares.log()
        loss = (sure * cross_entropy(scores, soft, reduction="none")).mean()
        self.follow(sure @ soft, len(rows), run)
        labelled = run.exact_counts.sum()
        return len(pool_of(run)) / (granted.ratio * labelled) * loss

    @torch.no_grad()
    def follow(self, mass, number, run):
        """Adds what was believed of a step's rows, and moves the shares where it is time to."""
        model = run.model
        model.pool_mass += mass
        model.pool_passed += number
        over = model.pool_passed >= len(pool_of(run))
        labelled = run.seen * model.pool_passed / run.granted.ratio
        of_pool, of_all = moved(
            model.pool_shares, model.all_shares, model.pool_mass, labelled, self.ema
        )
        model.pool_shares.copy_(torch.where(over, of_pool, model.pool_shares))
        model.all_shares.copy_(torch.where(over, of_all, model.all_shares))
        model.pool_mass *= ~over
        model.pool_passed *= ~over


def moved(of_pool, of_all, mass, labelled, ema):
    """The shares [C] of the pool and of all rows, once `mass` and `labelled` rows were seen.

    Those of the pool sum to less than 1, as in the code; a softmax does not mind.
    """
    every = labelled + mass
    return (
        ema * of_pool + (1 - ema) * mass / (mass.sum() + 1),
        ema * of_all + (1 - ema) * every / every.sum(),
    )


@hookimpl
def register_methods(register):
    register(SimPro)
