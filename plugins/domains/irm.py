"""Invariant risk minimisation: one classifier, best in each domain (Arjovsky et al., 2019)."""

import torch
from torch.nn.functional import one_hot

from ltbench import LogUniform, Method, NonNegative, Share, hookimpl
from ltbench.tracks.domains.contract import groups_in
from ltbench_plugins.domains.draws import places


class IRM(Method):
    """Adds the mean over domains of the penalty: how much a factor on all scores would help there.

    The penalty of a domain is the slope of its mean cross-entropy in that factor, at one, on its
    even rows in the batch times that on its odd rows, so that chance cancels. It counts 1 up to the
    share `start` of the training, and `penalty` from there on. Departure: the codes of DomainBed
    and BoDA have penalty 100 from step 500 of 5001 on, and start Adam anew then; the protocol's
    SGD goes on here, and diverges at 100, so that the default is 1 throughout. Of mixed rows the
    first labels count.
    """

    name = "irm"
    reference = "arXiv:1907.02893"
    needs = frozenset({"groups"})
    space = {"penalty": LogUniform(0.1, 1e5)}  # DomainBed's

    def __init__(self, penalty: NonNegative = 1.0, start: Share = 0.1):
        self.penalty = penalty
        self.start = start

    def extra(self, output, batch, run):
        weight = torch.where(run.progress < self.start, 1.0, self.penalty)
        scores, labels = output.heads[0][: len(batch.rows)], batch.targets[0][0]
        return weight * penalties(scores, labels, groups_in(batch)).mean()


def penalties(scores, labels, groups):
    """The penalty [G] of each domain in the batch; 0 for one with a single row."""
    slopes = ((scores.softmax(1) - one_hot(labels, scores.shape[1])) * scores).sum(dim=1)
    member = one_hot(groups).to(scores)  # [N, G]
    odd = (places(groups) % 2).to(scores)[:, None]
    halves = [member * (1 - odd), member * odd]
    even, uneven = (slopes @ half / half.sum(dim=0).clamp(min=1) for half in halves)
    return (even * uneven)[member.sum(dim=0) > 0]


@hookimpl
def register_methods(register):
    register(IRM)
