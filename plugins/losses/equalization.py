"""Equalization loss: frequent classes do not push rare ones down (Tan et al., CVPR 2020)."""

from typing import Literal

import torch
import torch.nn.functional as F

from ltbench import Choice, Method, Share, hookimpl

THRESHOLDS = {"softmax": 0.005, "sigmoid": 0.00177}


class Equalization(Method):
    """Spares a rare class some of the gradients that lower it on rows of other classes.

    A class is rare if its share of the rows is below `threshold`. "softmax" leaves a rare class
    that is not the label out of the sum of the softmax with probability `gamma`, drawn for each
    row and class. "sigmoid" is the form for detection: binary losses, added up over classes, of
    which rare classes have none on rows of other classes; every row counts as foreground.

    gamma and the threshold of "softmax" are those of BagofTricks-LT for CIFAR-100, the threshold of
    "sigmoid", which has no gamma, is the code's. They fit about a hundred classes: with ten at
    factor 100 only the rarest is below 0.005, and where none is, "softmax" is plain training; with
    thousands nearly all are.
    """

    name = "equalization"
    reference = "arXiv:2003.05176"
    corrects = "prior"
    neutral = {"gamma": 0.0}
    space = {"gamma": Choice(0.75, 0.9, 0.95, 0.99)}

    def __init__(
        self,
        form: Literal["softmax", "sigmoid"] = "softmax",
        gamma: Share = 0.9,
        threshold: Share | None = None,
    ):
        self.form = form
        self.gamma = gamma
        self.threshold = threshold

    def prepare(self, run):
        self.chance = None
        threshold = THRESHOLDS[self.form] if self.threshold is None else self.threshold
        self.rare = run.seen < threshold
        self.rank = run.seen.argsort().argsort()
        if not self.rare.any():
            run.note(f"no class has a share of the rows below {threshold:g}: none is spared")

    def batch(self, batch, run):
        if self.form == "softmax":  # one draw for all the gradients of a step
            shape = (len(batch.rows), run.num_classes)
            self.chance = torch.rand(shape, generator=run.rng, device=run.device)
        return batch

    def criterion(self, scores, labels, run):
        true = F.one_hot(labels, scores.shape[1]).bool()
        spared = self.rare & ~true
        if self.form == "sigmoid":
            losses = F.binary_cross_entropy_with_logits(
                scores, true.to(scores.dtype), reduction="none"
            )
            return losses.masked_fill(spared, 0).sum(dim=1)
        chance = self.chance
        if chance is None:  # outside of training
            chance = torch.rand(scores.shape, generator=run.rng, device=scores.device)
        # chance goes by size, so that a class's number does not count
        drawn = (chance < self.gamma)[:, self.rank]
        # cross_entropy takes the row's maximum off, and the true class always stays
        kept = scores.masked_fill(spared & drawn, -torch.inf)
        return F.cross_entropy(kept, labels, reduction="none")


@hookimpl
def register_methods(register):
    register(Equalization)
