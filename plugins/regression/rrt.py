"""Regressor re-training: the head learns anew on frozen features (Yang et al., ICML 2021)."""

from dataclasses import replace

from ltbench import LogUniform, Share, hookimpl
from ltbench.tracks.regression.contract import Regression


class RRT(Regression):
    """Trains plainly, then the head alone, weighed by 1 / sqrt(rows) of a row's bin.

    The head starts anew, and BatchNorm keeps its statistics. `share` is the length of the second
    stage in first ones; its default, and that the learning rate is that of the first stage, are our
    choice: the paper takes 30 epochs after 90 at a tenth of the rate.
    """

    name = "rrt"
    reference = "arXiv:2102.09554"
    roles = ("head",)
    corrects = "prior"
    space = {"share": LogUniform(1 / 12, 1.0)}

    def __init__(self, share: Share = 1 / 3):
        self.share = share

    def phases(self, plan, run):
        epochs = max(1, round(self.share * plan[-1].epochs))
        stage = {"epochs": epochs, "learn": "head", "reset": "head", "frozen_bn": True}
        return [*plan, replace(plan[-1], role="head", **stage)]

    def prepare(self, run):
        self.weights = run.seen**-0.5

    def weight(self, labels, run):
        return self.weights[run.granted.bins(labels)]


@hookimpl
def register_methods(register):
    register(RRT)
