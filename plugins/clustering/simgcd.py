"""SimGCD: views that teach each other their class, known or new (Wen et al., ICCV 2023)."""

import math

import torch
from torch import nn
from torch.nn.functional import log_softmax, normalize

from ltbench import NonNegative, Share, hookimpl
from ltbench.tracks.clustering.contract import POOL, UNKNOWN, Clustering

STUDENT = 0.1  # temperature; the head's scale is its inverse
PROJECTED = 64


class SimGCD(Clustering):
    """A sharpened view is the soft label of the other, and means of labels are to be even.

    The loss is (1 - w)(distillation + `entropy` x evenness + contrast of views) + w (cross-entropy
    + contrast of labels), over w where labels are told, as the engine adds the cross-entropy of
    labelled rows. The teacher's temperature falls from `warm` to `cold` over 15% of the training;
    contrasts are of a projector. A base in the manner of the paper: what it learns is the map of
    the track, the cross-entropy is of one view, and there are no momenta.
    """

    name = "simgcd"
    reference = "arXiv:2211.11727"
    needs = frozenset({POOL})

    def __init__(
        self,
        w: Share = 0.35,
        entropy: NonNegative = 2.0,
        warm: NonNegative = 0.07,
        cold: NonNegative = 0.04,
    ):
        self.w, self.entropy, self.warm, self.cold = w, entropy, warm, cold

    def build(self, model, run):
        model.projector = projector(model.head.in_features)
        return model

    def unlabelled_loss(self, first, second, rows, run):
        views, labels = (first, second), run.granted.labels[rows]
        cosines = torch.stack([STUDENT * view.heads[0] for view in views])
        with torch.no_grad():
            teacher = self.teacher(cosines, run.progress)
        free = distilled(cosines, teacher) + self.regulariser(cosines, run)
        projected = [normalize(run.model.projector(self.contrasted(view))) for view in views]
        free = free + contrast(*projected, 1.0)
        told = labels != UNKNOWN
        if not run.granted.told:
            return free
        return (1 - self.w) / self.w * free + same_label(
            projected[0][told], projected[1][told], labels[told]
        )

    def contrasted(self, view):
        return view.features

    def teacher(self, cosines, progress):
        """The labels [2, M, C] that views give, from their cosines."""
        passed = (progress / 0.15).clamp(max=1)
        temperature = self.warm + (self.cold - self.warm) * passed
        return (cosines / temperature).softmax(dim=-1)

    def regulariser(self, cosines, run):
        return self.entropy * unevenness(cosines)


def projector(width):
    return nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, PROJECTED))


def distilled(cosines, teacher):
    """The cross-entropy of each view with the label of the other, cosines [2, M, C]."""
    return -(teacher.flip(0) * log_softmax(cosines / STUDENT, dim=-1)).sum(dim=-1).mean()


def unevenness(cosines, shares=None, power=1.0):
    """log C less the entropy of the mean prediction, over shares [C] to the power where given:
    least, 0, where it is in proportion to these."""
    mean = (cosines / STUDENT).softmax(dim=-1).flatten(0, -2).mean(dim=0)
    if shares is not None:
        mean = mean / shares**power
        mean = mean / mean.sum()
    return math.log(len(mean)) + torch.xlogy(mean, mean).sum()


def contrast(first, second, temperature):
    """Which of the other views [M, D], of unit length, is of the same row (InfoNCE)."""
    own = torch.eye(len(first), dtype=first.dtype, device=first.device)
    return softly(first, second, own, temperature)


def same_label(first, second, labels, temperature=0.07):
    """Which of the other views are of rows with the same label (SupCon)."""
    if not len(labels):
        return first.sum() * 0
    return softly(first, second, (labels[:, None] == labels).to(first), temperature)


def softly(first, second, weights, temperature):
    """The mean over views [M, D] of the cross-entropy with the others, in shares that rows [M, M]
    give each other; a view is not set beside itself."""
    both = torch.cat([first, second])
    alike = both @ both.T / temperature
    itself = torch.eye(len(both), dtype=torch.bool, device=both.device)
    chances = log_softmax(alike.masked_fill(itself, -torch.inf), dim=1).masked_fill(itself, 0)
    given = weights.repeat(2, 2).masked_fill(itself, 0)
    return -((given * chances).sum(dim=1) / given.sum(dim=1)).mean()


@hookimpl
def register_methods(register):
    register(SimGCD)
