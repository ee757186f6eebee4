"""CReST and CReST+: generations that add pseudo-labels, rare ones above all (Wei et al., 2021)."""

from dataclasses import replace
from typing import Annotated

import torch
from msgspec import Meta

from ltbench import Positive, Rows, Share, hookimpl
from ltbench.tracks.semi.contract import POOL, SemiSupervised, pool_of, room
from ltbench_plugins.semi.distribution_alignment import aligned, remember, remembered, softened


class CReST(SemiSupervised):
    """Trains anew in each generation, on labelled rows and those that the last one was sure of.

    Of the rows that are told to be of the class of rank l, the share (n_(C-1-l) / n_0) ** (1 /
    `alpha`) is added, the surest first: all of the rarest class. Ranks are of class counts, where
    the released codes take the class's number; classes of equal counts share their mean. Each
    generation has the whole budget and fresh weights. With `plus` beliefs are aligned to labelled
    shares to a power that falls from 1 in the first to `floor` in the last generation. FixMatch
    stands beside it in a recipe.
    """

    name = "crest"
    reference = "arXiv:2102.09559"
    needs = frozenset({POOL})

    def __init__(
        self,
        generations: Annotated[int, Meta(ge=1)] = 6,
        alpha: Positive = 3.0,
        plus: bool = False,
        floor: Share = 0.5,
    ):
        self.generations, self.alpha, self.plus, self.floor = generations, alpha, plus, floor

    def build(self, model, run):
        unknown = torch.full((room(run),), -1, device=run.device)
        model.register_buffer("crest_labels", unknown)
        model.register_buffer("crest_made_in", torch.ones((), dtype=torch.long, device=run.device))
        remember(model, "crest", run)
        return model

    def phases(self, plan, run):
        last = plan[-1]
        again = range(2, self.generations + 1)
        return [*plan, *(replace(last, role=f"{last.role} {g}", reset="") for g in again)]

    def enter(self, train, run):
        pool, generation = pool_of(run), generation_of(run)
        if pool is None or generation == 1:
            return train
        model = run.model
        if model.crest_made_in != generation:  # else it goes on, with those it had
            sure, told = run.scores(pool).softmax(dim=1).max(dim=1)
            kept = surest(sure, told, shares_added(run.counts, self.alpha))
            model.crest_labels.copy_(torch.where(kept, told, -1))
            model.crest_made_in.fill_(generation)
            for held in remembered(model, "crest"):
                held.zero_()
        added = model.crest_labels >= 0
        labels = torch.cat([train.labels, model.crest_labels[added]])
        return Rows(torch.cat([train.inputs, pool[added]]), labels)

    def believe(self, probabilities, rows, run):
        if not self.plus:
            return probabilities
        passed = (generation_of(run) - 1) / max(self.generations - 1, 1)
        target = softened(run.counts, 1 - (1 - self.floor) * passed)
        return aligned(probabilities, target, *remembered(run.model, "crest"))


def generation_of(run):
    """The number of a generation, from 1, which its phase's role ends in."""
    return int(run.phase.role.partition(" ")[2] or 1)


def shares_added(counts, alpha):
    """The share [C] of the rows told to be of each class that is added, by class counts [C]."""
    falling, order = counts.sort(descending=True)
    share = torch.empty_like(falling)
    share[order] = (falling.flip(0) / falling[0]) ** (1 / alpha)
    equal = (counts[:, None] == counts).to(share)
    return equal @ share / equal.sum(dim=1)


def surest(sure, told, shares):
    """Which rows [M] are among the surest share of those told to be of their class."""
    order = sure.argsort(descending=True, stable=True)
    order = order[told[order].argsort(stable=True)]
    number = told.bincount(minlength=len(shares))
    start = number.cumsum(0) - number
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    return place - start[told] < (number * shares + 1e-6).floor()[told]


@hookimpl
def register_methods(register):
    register(CReST)
