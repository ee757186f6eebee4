"""FixMatch: labels of confident rows, learned from strong views (Sohn et al., NeurIPS 2020)."""

from torch.nn.functional import cross_entropy

from ltbench import NonNegative, hookimpl
from ltbench.tracks.semi.contract import POOL, SemiSupervised


class FixMatch(SemiSupervised):
    """Where a row's weak view is believed to be of a class, its strong view is to be of that class.

    The loss is `weight` times the mean over all rows of the pool in a step, those of which no
    belief reaches the `threshold` count as 0. Beliefs are of the first head, through what other
    methods make of them. Departure: rows are drawn with replacement, `ratio` of the protocol for
    each labelled row, which is 7 in the paper.
    """

    name = "fixmatch"
    reference = "arXiv:2001.07685"
    needs = frozenset({POOL})
    neutral = {"weight": 0.0}

    def __init__(self, threshold: NonNegative = 0.95, weight: NonNegative = 1.0):
        self.threshold, self.weight = threshold, weight

    def unlabelled_loss(self, weak, strong, rows, run):
        believed = run.recipe.believe(weak.heads[0].softmax(dim=1), rows, run)
        return self.weight * confident_loss(strong.heads[0], believed, self.threshold)


def confident_loss(scores, believed, threshold):
    """The cross-entropy of scores [M, C] with the likeliest class of rows whose belief reaches the
    threshold, over all M rows."""
    sure, labels = believed.max(dim=1)
    return ((sure >= threshold) * cross_entropy(scores, labels, reduction="none")).mean()


@hookimpl
def register_methods(register):
    register(FixMatch)
