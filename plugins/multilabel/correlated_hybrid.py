"""Hybrid loss with label correlations (Aslam et al., arXiv:2410.03979), for emotions of tweets."""

import torch
from torch.nn.functional import normalize

from ltbench import NonNegative, Positive, Share, hookimpl
from ltbench.tracks.multilabel.contract import LabelMethod


class CorrelatedHybrid(LabelMethod):
    """Weighs labels, draws together probabilities of labels that occur together, and features of
    rows that share labels.

    Which three terms there are is the paper's, their formulas are ours, as we have its abstract
    alone: weights (1 / n_c)^power, in the mean 1; `correlation` times the squared difference of
    two labels' probabilities, weighed by how often they occur together, n_cd / sqrt(n_c n_d);
    `contrast` times supervised contrast at a `temperature`, where two rows are alike by the share
    of labels that they share. Not to be taken for `hybrid-loss`, of one class a row.
    """

    name = "correlated-hybrid"
    reference = "arXiv:2410.03979"
    corrects = "prior"
    neutral = {"power": 0.0, "correlation": 0.0, "contrast": 0.0}

    def __init__(
        self,
        power: Share = 0.5,
        correlation: NonNegative = 0.1,
        contrast: NonNegative = 0.1,
        temperature: Positive = 0.1,
    ):
        self.power, self.correlation = power, correlation
        self.contrast, self.temperature = contrast, temperature

    def label_weight(self, labels, run):
        weight = run.counts**-self.power
        return weight / weight.mean()

    def extra(self, output, batch, run):
        rows, terms = len(batch.rows), []
        apart = pulled_apart(output.heads[run.head][:rows].sigmoid(), run.granted.together)
        for labels, share in batch.targets:
            alike = contrasted(output.features[:rows], labels, self.temperature)
            terms.append(share * self.contrast * alike)
        return self.correlation * apart + sum(terms)


def pulled_apart(probabilities, together):
    """The mean squared difference of the probabilities [N, C] of two labels, weighed by how often
    they occur `together` [C, C]; 0 where none do."""
    counts = together.diagonal().clamp(min=1)
    weight = (together / (counts[:, None] * counts).sqrt()).fill_diagonal_(0)
    # the sum over pairs of w (p - q)^2 is 2 p' (D - W) p, D being the sums of W's rows
    spread = weight.sum(dim=1).diag() - weight
    both = 2 * torch.einsum("nc,cd,nd->n", probabilities, spread.to(probabilities), probabilities)
    return both.mean() / weight.sum().clamp(min=1e-12)


def contrasted(features, labels, temperature):
    """Supervised contrast of features [N, D]: rows are alike by the Jaccard index of their labels.

    A row that shares no label with another costs nothing.
    """
    own = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    shared = labels @ labels.T
    number = labels.sum(dim=1)
    alike = shared / (number[:, None] + number - shared).clamp(min=1)
    alike = alike.masked_fill(own, 0)
    unit = normalize(features)
    scores = (unit @ unit.T / temperature).masked_fill(own, -torch.inf)
    surprise = -scores.log_softmax(dim=1).masked_fill(own, 0)
    return ((alike * surprise).sum(dim=1) / alike.sum(dim=1).clamp(min=1e-12)).mean()


@hookimpl
def register_methods(register):
    register(CorrelatedHybrid)
