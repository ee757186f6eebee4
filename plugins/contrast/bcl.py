"""Balanced contrastive learning (BCL: Zhu et al., CVPR 2022)."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from ltbench import (
    CosineHead,
    LogUniform,
    LTBenchError,
    Method,
    NonNegative,
    Positive,
    Uniform,
    hookimpl,
)
from ltbench.toolbox import another_view, contrast

WIDTH = 128  # of what is contrasted; 1,024 in the paper's code for ImageNet


class BCL(Method):
    """Adds supervised contrast between two more views, in which each class counts the same.

    Every class has a prototype in each batch, made of its classifier weights, and the sum over
    rivals is one of class means. The classifier gives `scale` * cosine. This is the contrastive
    part beside plain cross-entropy; the paper's cross-entropy has the log prior added to its
    scores, so its whole method is `bcl+logit-adjustment`. Defaults are those of the paper's code.
    """

    name = "bcl"
    reference = "arXiv:2207.09052"
    space = {"share": Uniform(0.1, 1.0), "temperature": LogUniform(0.05, 0.5)}

    def __init__(
        self, share: NonNegative = 0.35, temperature: Positive = 0.07, scale: Positive = 30.0
    ):
        self.share = share
        self.temperature = temperature
        self.scale = scale

    def build(self, model, run):
        if not isinstance(model.head, nn.Linear):
            raise LTBenchError("bcl takes the place of a linear head, and there is another here")
        width = model.head.in_features
        model.head = CosineHead(width, run.num_classes, self.scale)
        model.projector, model.prototypes = perceptron(width), perceptron(width)
        return model

    def batch(self, batch, run):
        if run.train is None:
            return batch  # outside of training there are no stored rows
        views = [another_view(batch, run) for _ in range(2)]
        return replace(batch, inputs=torch.cat([batch.inputs, *views]))

    def extra(self, output, batch, run):
        n = len(batch.rows)
        if len(output.features) == n:
            return None
        z = F.normalize(run.model.projector(output.features[n : 3 * n]))
        prototypes = F.normalize(run.model.prototypes(run.model.head.weight))
        labels = run.train.labels[batch.rows].repeat(2)  # a mixed row's views are unmixed
        return self.share * balanced_contrast(z, labels, prototypes, self.temperature)


def perceptron(width):
    return nn.Sequential(
        nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, WIDTH)
    )


def balanced_contrast(z, labels, prototypes, temperature):
    """Supervised contrast of views z [N, D] and prototypes [C, D], all unit vectors.

    A class's share of the rivals is the mean over its members but the anchor itself.
    """
    everyone = torch.cat([z, prototypes])
    classes = torch.cat([labels, torch.arange(len(prototypes), device=labels.device)])
    others = ~torch.eye(len(z), len(everyone), dtype=torch.bool, device=z.device)
    mates = (labels[:, None] == classes) & others
    members = classes.bincount()[classes] - mates.to(z.dtype)
    return contrast(z @ everyone.T / temperature, mates, others, members.log())


@hookimpl
def register_methods(register):
    register(BCL)
