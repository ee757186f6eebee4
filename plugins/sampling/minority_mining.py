"""Minority mining: uncertain rows of rare classes come more often (Singh et al., MMM 2022)."""

import torch

from ltbench import Method, Share, Uniform, hookimpl


class MinorityMining(Method):
    """Draws all classes equally often, and in rare classes the uncertain rows more often.

    The paper's are the aim, a training set balanced with rows mined by uncertainty, and the
    lifting of rare classes' activations before uncertainty is measured. The paper mines an
    unlabelled pool with a one-class model, which would tell labels known here. So ours are: the
    rows are the training rows, scored at each epoch; lifting takes the log of the class sizes off
    the scores; uncertainty is the entropy of their softmax; rare is below the mean size. Within a
    rare class a row's chance goes with 1 - strength + strength * uncertainty / the class's mean,
    so that strength 0 is oversampling.
    """

    name = "minority-mining"
    reference = "arXiv:2112.07835"
    corrects = "prior"
    space = {"strength": Uniform(0.1, 1.0)}

    def __init__(self, strength: Share = 0.5):
        self.strength = strength

    def sampling_weights(self, labels, run):
        n_c = labels.bincount(minlength=run.num_classes).to(run.counts)
        balanced = 1 / n_c[labels]
        if run.model is None:  # a probe, which has no network to ask
            return balanced
        unsure = entropy(run.scores(run.train.inputs) - n_c.log())
        mean = torch.zeros_like(n_c).index_add(0, labels, unsure) / n_c
        relative = unsure / mean[labels].clamp(min=torch.finfo(unsure.dtype).tiny)
        rare = n_c[labels] < n_c.mean()
        mined = rare & (mean[labels] > 0)
        return balanced * torch.where(mined, 1 + self.strength * (relative - 1), 1)


def entropy(scores):
    """The entropy [N] of the softmax of scores [N, C]."""
    return -(scores.softmax(dim=1) * scores.log_softmax(dim=1)).sum(dim=1)


@hookimpl
def register_methods(register):
    register(MinorityMining)
