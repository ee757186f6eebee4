"""Learnable weight scaling: a factor per class on a trained classifier (Kang et al., ICLR 2020)."""

from dataclasses import replace

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

    def phases(self, plan, run):
        epochs = max(1, round(self.share * plan[-1].epochs))
        stage = {"epochs": epochs, "learn": "head.factors", "reset": None, "frozen_bn": True}
        return [*plan, replace(plan[-1], role="head", **stage)]

    def enter(self, train, run):
        head = run.model.head
        like = next(head.parameters(), run.counts)
        head.factors = nn.Parameter(like.new_ones(run.num_classes))
        head.register_forward_hook(scaled)
        return train

    def sampling_weights(self, labels, run):
        return (1 / labels.bincount())[labels]


def scaled(head, given, scores):
    """The scores [N, C] of a head, those of each expert where it has several, times its factors."""
    if isinstance(scores, tuple):
        return tuple(each * head.factors for each in scores)
    return scores * head.factors


@hookimpl
def register_methods(register):
    register(LWS)
