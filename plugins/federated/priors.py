"""Priors of the class: the one over all clients in training, and each client's own afterwards."""

from torch import nn

from ltbench import hookimpl
from ltbench.tracks.federated.contract import CLIENTS, Federating, received_by

PRIOR = "prior"  # under which clients report theirs


class OfPriors(Federating):
    """Clients report the share of each class, of which the mean by rows is the share over all."""

    needs = frozenset({CLIENTS})

    def report(self, model, rows, run):
        return {PRIOR: run.exact_counts / run.exact_counts.sum()}


def prior_of_all(run):
    """The share [C] of each class over the clients of the last round, or None before the first.

    A class that none of them has is as rare as the rarest.
    """
    prior = received_by(run).get(PRIOR)
    if prior is None:
        return None
    return prior.where(prior > 0, prior[prior > 0].min()).to(run.counts)


class GlobalBalancedSoftmax(OfPriors):
    """Balanced softmax with the prior over all clients, in place of each client's own.

    In the first round, before anything was reported, it is `balanced-softmax`. A prototype's
    choice; the loss is that of Ren et al., NeurIPS 2020.
    """

    name = "global-balanced-softmax"
    reference = "arXiv:2007.10740"
    corrects = "prior"

    def prepare(self, run):
        prior = prior_of_all(run)
        self.prior = (run.seen if prior is None else prior).log()

    def adjust(self, scores, labels, run):
        return scores + self.prior


class PriorShift(OfPriors):
    """Each client adds log n_kc - log N_c to the scores of the network of all; nobody trains more.

    n_kc are its own rows of a class, of which one that it lacks counts one, N_c those of all. It
    is Bayes' rule for a network that learned the prior of all, and most of what personalisation
    gives: what personalised methods are read against. Where another method of the recipe corrects
    the prior already, N_c are left out.
    """

    name = "prior-shift"
    reference = "none: Bayes' rule, as in label shift"

    def personal(self, model, rows, run):
        prior, shift = prior_of_all(run), (run.counts / run.counts.sum()).log()
        if prior is not None and not any(one.corrects == "prior" for one in run.recipe.methods):
            shift = shift - prior.log()
        model.head = Shifted(model.head, shift)
        return model


class Shifted(nn.Module):
    """A head whose scores [N, C] are moved by a fixed `shift` [C]; of several, each."""

    def __init__(self, head, shift):
        super().__init__()
        self.head = head
        self.register_buffer("shift", shift)

    def forward(self, features):
        scores = self.head(features)
        if isinstance(scores, tuple):
            return tuple(one + self.shift for one in scores)
        return scores + self.shift


@hookimpl
def register_methods(register):
    register(GlobalBalancedSoftmax)
    register(PriorShift)
