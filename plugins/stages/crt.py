"""Classifier re-training: a new classifier on frozen features (Kang et al., ICLR 2020)."""

from dataclasses import replace

from ltbench import LogUniform, Method, Share, hookimpl


class CRT(Method):
    """Trains plainly, then trains a new head alone, with all classes drawn equally often.

    `share` is the length of the second stage in first ones, 10 epochs after 90 in the paper.
    BatchNorm keeps the statistics of the first stage; in the paper's code they drift.
    """

    name = "crt"
    reference = "arXiv:1910.09217"
    roles = ("head",)
    corrects = "prior"
    space = {"share": LogUniform(1 / 36, 4 / 9)}  # a quarter of the source's, and four times it

    def __init__(self, share: Share = 1 / 9):
        self.share = share

    def phases(self, plan, run):
        epochs = max(1, round(self.share * plan[-1].epochs))
        stage = {"epochs": epochs, "learn": "head", "reset": "head", "frozen_bn": True}
        return [*plan, replace(plan[-1], role="head", **stage)]

    def sampling_weights(self, labels, run):
        return (1 / labels.bincount())[labels]


@hookimpl
def register_methods(register):
    register(CRT)
