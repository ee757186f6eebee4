"""Learnable weight scaling: a factor per class on a trained classifier (Kang et al., ICLR 2020)."""

from dataclasses import replace

import torch
from torch import nn

from ltbench import LogUniform, Method, Share, hookimpl


class LWS(Method):
    """Trains plainly, then learns a factor on each class's score, with all classes drawn equally.

    The factors start at 1 and scale the score with its bias; features and classifier stay as they
    are. `share` is the length of the second stage in first ones, 5 epochs after 90 in the paper.
    """

    name = "lws"
    reference = "arXiv:1910.09217"
    roles = ("head",)
    corrects = "prior"
    space = {"share": LogUniform(5 / 360, 20 / 90)}  # a quarter of the source's, and four times it

    def __init__(self, share: Share = 5 / 90):
        self.share = share

    def build(self, model, run):
        model.head = ScaledHead(model.head, run.num_classes)
        return model

    def phases(self, plan, run):
        epochs = max(1, round(self.share * plan[-1].epochs))
        stage = {"epochs": epochs, "learn": "head.factors", "reset": None, "frozen_bn": True}
        return [*plan, replace(plan[-1], role="head", **stage)]

    def sampling_weights(self, labels, run):
        return (1 / labels.bincount())[labels]


class ScaledHead(nn.Module):
    """A classifier whose scores [N, C] are multiplied by `factors` [C].

    While the classifier learns, the factors are left out, so that they get no gradient and stay 1.
    """

    def __init__(self, classifier, num_classes):
        super().__init__()
        self.classifier, self.in_features = classifier, classifier.in_features
        like = next(classifier.parameters())
        self.factors = nn.Parameter(torch.ones(num_classes, dtype=like.dtype))

    def forward(self, features):
        scores = self.classifier(features)
        learning = any(parameter.requires_grad for parameter in self.classifier.parameters())
        if learning:
            return scores
        if isinstance(scores, tuple):  # of experts
            return tuple(each * self.factors for each in scores)
        return scores * self.factors


@hookimpl
def register_methods(register):
    register(LWS)
