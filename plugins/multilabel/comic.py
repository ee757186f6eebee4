"""Parts of COMIC, for labels of which some are missing (Zhang et al., ICCV 2023).

The paper's three networks are not here. Formulas are those of its code, but all are means where
that sums. Counts are those of the labels that are told.
"""

import torch

from ltbench import NonNegative, Share, hookimpl
from ltbench.tracks.multilabel.contract import LabelMethod
from ltbench_plugins.multilabel.asl import focused, truth

MARGIN = 0.05  # of absent labels, as in asymmetric loss


def tail_weights(counts, power):
    """The weight [C] of each label: 1 for the most frequent one, more for rarer ones."""
    return (1 - (counts / counts.max()).log()) ** power


class MultiFocal(LabelMethod):
    """The multi-focal modifier: an asymmetric loss that weighs rare labels by w_c = (1 - log(n_c /
    n_max))^(1/6), with the exponent `negative` + w_c on absent ones. Of equal counts it is
    asymmetric loss with 5 and 0.
    """

    name = "mfm"
    reference = "arXiv:2304.10539"
    corrects = "prior"

    def __init__(self, negative: NonNegative = 4.0):
        self.negative = negative

    def label_losses(self, scores, labels, run):
        weight = tail_weights(run.counts, 1 / 6)
        focus = (1 - labels) * (self.negative + weight)
        return weight * focused(truth(scores, labels, MARGIN), focus, detached=True)


class PriorFocal(LabelMethod):
    """The prior-focal modifier, which the published configuration names: as `mfm`, but w_c to the
    power 1/3, and what labels stand together tells more.

    a is how often the labels of a row stand beside each label, on average. A present label is given
    the probability p (1 - a); of an absent one that stands beside the row's labels what is given
    to its absence grows by `trust`. Departure: a row without labels is NaN in the code, here its a
    is 0.
    """

    name = "pfm"
    reference = "arXiv:2304.10539"
    corrects = "prior"

    def __init__(self, negative: NonNegative = 3.0, trust: NonNegative = 1.2):
        self.negative, self.trust = negative, trust

    def label_losses(self, scores, labels, run):
        weight = tail_weights(run.counts, 1 / 3)
        beside = attention(labels, run.granted.together)
        likely = truth(scores, labels, MARGIN)
        absent = torch.where(beside > 0, self.trust * likely, likely).clamp(max=1)
        likely = labels * likely * (1 - beside) + (1 - labels) * absent
        focus = (1 - labels) * (self.negative + weight)
        return weight * focused(likely, focus, detached=True)


def attention(labels, together):
    """How often each label stands beside those of a row [N, C], in shares that sum to 1."""
    shares = together / together.sum(dim=0).clamp(min=1)
    beside = labels @ shares.to(labels.dtype)
    total = beside.sum(dim=1, keepdim=True)
    return torch.where(total > 0, beside / total.clamp(min=1e-12), 0.0)


class Recalled(LabelMethod):
    """The reflective label corrector: absent labels that the network is sure of count as present.

    From the second epoch on a label is recalled where its probability is above `threshold`, and
    above the mean of the batch. The loss of labels so corrected is added, `weight` times: an
    asymmetric one on scores that are 1 less for labels that are told. Departure: counts are those
    of told labels; the code adds those that were recalled in the epoch.
    """

    name = "rlc"
    reference = "arXiv:2304.10539"
    neutral = {"weight": 0.0}

    def __init__(self, weight: NonNegative = 0.2, threshold: Share = 0.7):
        self.weight, self.threshold = weight, threshold

    def extra(self, output, batch, run):
        scores, terms = output.heads[run.head][: len(batch.rows)], []
        for labels, share in batch.targets:
            lowered = scores - labels
            told = corrected(lowered.detach(), labels, self.threshold, run.progress, run.phase)
            weight = tail_weights(run.counts, 1 / 6)
            focus = (1 - told) * (3 + weight)
            losses = weight * focused(truth(lowered, told, MARGIN), focus, detached=True)
            rows_a_label = len(labels) / labels.sum().clamp(min=1)
            terms.append(share * rows_a_label * losses.mean())
        return self.weight * sum(terms)


def corrected(lowered, labels, threshold, progress, phase):
    """Labels [N, C] with those that are recalled, of scores that are 1 less for told ones."""
    likely = lowered.sigmoid()
    sure = (likely > threshold) & (likely > likely.mean(dim=0))
    begun = progress * phase.epochs >= 1 - 1e-6
    return torch.where(sure & begun, 1.0, labels)


@hookimpl
def register_methods(register):
    register(MultiFocal)
    register(PriorFocal)
    register(Recalled)
