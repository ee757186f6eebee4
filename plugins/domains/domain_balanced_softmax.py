"""Balanced softmax with the prior of each row's own domain (Yang et al., ECCV 2022)."""

from ltbench import Method, hookimpl
from ltbench.tracks.domains.contract import cells_of, groups_of


class DomainBalancedSoftmax(Method):
    """Adds log n_dc to the score of class c while training, for a row of domain or group d.

    A cell without rows counts one, as in that code. Nothing is added after training, so no domain
    needs to be known then. Rows are counted as they stand in the training set, whatever the draw;
    with one domain this is `balanced-softmax`.
    """

    name = "domain-balanced-softmax"
    reference = "arXiv:2203.09513"
    needs = frozenset({"groups"})
    corrects = "prior"

    def prepare(self, run):
        self.prior = cells_of(run).clamp(min=1).log()

    def adjust(self, scores, labels, run):
        return scores + self.prior[groups_of(run, labels)]


@hookimpl
def register_methods(register):
    register(DomainBalancedSoftmax)
