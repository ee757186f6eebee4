"""AnyLoss: a metric of two classes, made smooth and used as the loss (Han et al., KDD 2024)."""

from typing import Literal

import torch

from ltbench import Method, Positive, hookimpl


class AnyLoss(Method):
    """One minus a metric of the batch, whose predictions are pushed towards 0 and 1 by a sigmoid.

    The prediction of a row is a = sigmoid(steepness * (p - 1/2)), p being the probability of the
    rarer class, which is the positive one. A batch has one loss, so every row has that of the
    batch: weights of rows cancel, so do shares of a row (`remix`), and a step that takes classes
    apart (`imbsam`, `pcngd`) scales the whole. A class that is absent from the batch counts as
    found whole in the G-mean and the balanced accuracy (our choice; the formula has 0 / 0 there);
    without positives F1 is 0 and teaches nothing. The default steepness is that of the paper's
    code. Predictions far from 1/2 have next to no gradient.
    """

    name = "anyloss"
    reference = "arXiv:2405.14745"
    needs = frozenset({"two_classes"})
    corrects = "prior"

    def __init__(
        self,
        metric: Literal["f1", "accuracy", "g-mean", "balanced-accuracy"] = "f1",
        steepness: Positive = 73.0,
    ):
        self.metric = metric
        self.steepness = steepness

    def prepare(self, run):
        self.positive = run.positive

    def criterion(self, scores, labels, run):
        y = (labels == self.positive).to(scores.dtype)
        margin = (2 * self.positive - 1) * (scores[:, 1] - scores[:, 0])
        a = torch.sigmoid(self.steepness * (torch.sigmoid(margin) - 0.5))
        return (1 - metric(self.metric, a, y)).expand(len(labels))


def metric(name, a, y):
    """The metric of predictions `a` and truths `y`, each [N] within 0 and 1."""
    tiny = torch.finfo(a.dtype).tiny
    found = (a * y).sum()
    if name == "f1":
        return 2 * found / (a + y).sum().clamp(min=tiny)
    spared = ((1 - a) * (1 - y)).sum()
    if name == "accuracy":
        return (found + spared) / len(y)
    recall, specificity = share(found, y.sum()), share(spared, (1 - y).sum())
    if name == "g-mean":
        return (recall * specificity).clamp(min=tiny).sqrt()  # the root has no slope at 0
    return (recall + specificity) / 2


def share(part, whole):
    return torch.where(whole > 0, part / whole.clamp(min=1), 1)


@hookimpl
def register_methods(register):
    register(AnyLoss)
