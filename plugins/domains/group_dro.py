"""Group distributionally robust optimisation (Sagawa et al., ICLR 2020)."""

from typing import Literal

import torch

from ltbench import LogUniform, Method, NonNegative, hookimpl
from ltbench.tracks.domains.contract import cell_of, domains_of, groups_of


class GroupDRO(Method):
    """Weighs groups by q, which grows with their losses: q_g *= exp(eta loss_g), then sums to one.

    The loss is the sum of q_g times the mean loss of the rows of group g in the batch; a group
    that the batch lacks keeps its q but for the sum. Two groupings are published under this name:
    over "domains" (the code of BoDA), and over "cells", a class with an attribute (the paper, and
    BalancingGroups, with rows drawn equally by cell: `groupdro(over='cells')+rwg`). eta is that of
    both codes. Departure: of mixed rows the first labels tell the groups by which q grows.
    """

    name = "groupdro"
    reference = "arXiv:1911.08731"
    needs = frozenset({"groups"})
    space = {"eta": LogUniform(0.001, 0.1)}  # DomainBed's

    def __init__(self, over: Literal["domains", "cells"] = "domains", eta: NonNegative = 0.01):
        self.over = over
        self.eta = eta

    def build(self, model, run):
        groups = domains_of(run) * (run.num_classes if self.over == "cells" else 1)
        model.register_buffer("group_shares", torch.full((groups,), 1 / groups))
        return model

    def batch(self, batch, run):
        self.grown = False
        return batch

    def criterion(self, scores, labels, run):
        losses, groups = super().criterion(scores, labels, run), groups_of(run, labels)
        if self.over == "cells":
            groups = cell_of(groups, labels, run.num_classes)
        shares = run.model.group_shares if hasattr(run.model, "group_shares") else None
        if shares is None:  # a probe of scores alone
            return losses
        rows = groups.bincount(minlength=len(shares))
        means = losses.new_zeros(len(shares)).index_add(0, groups, losses) / rows.clamp(min=1)
        if not self.grown:  # once a step, however often the step asks for a gradient
            grown = shares * (self.eta * means.detach()).exp()
            shares.copy_(grown / grown.sum())
            self.grown = True
        return losses * (shares / rows.clamp(min=1))[groups] * len(losses)


@hookimpl
def register_methods(register):
    register(GroupDRO)
