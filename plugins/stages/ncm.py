"""Nearest class mean on the features of a trained network (Kang et al., ICLR 2020)."""

from typing import Literal

import torch.nn.functional as F
from torch import nn

from ltbench import Choice, LTBenchError, Method, hookimpl


class NCM(Method):
    """Trains plainly, then puts a head of class means in place of the classifier.

    Features are centred by the mean of all rows and brought to length 1; the means of a class are
    not brought to length 1 again, as in the paper's code. "l2" scores a class by minus the squared
    distance to its mean, "cos" by the dot product over the width of the features. The rows are
    those that the last phase drew from, plain views of them, with whatever a sampler added. Such
    scores are small, so probabilities made of them are far from sure.
    """

    name = "ncm"
    reference = "arXiv:1910.09217"
    corrects = "prior"
    space = {"distance": Choice("l2", "cos")}  # both are in its code

    def __init__(self, distance: Literal["l2", "cos"] = "l2"):
        self.distance = distance

    def finish(self, model, validation, run):
        labels, inputs = run.train.labels, run.train.inputs
        features = inputs if run.phase.on_features else run.features(inputs)
        rows = labels.bincount(minlength=run.num_classes)
        if (rows == 0).any():
            raise LTBenchError(f"ncm: class {int((rows == 0).nonzero()[0])} has no rows to average")
        centre = features.mean(dim=0)
        sums = F.one_hot(labels, run.num_classes).to(features).T @ F.normalize(features - centre)
        model.head = NearestMean(centre, sums / rows[:, None], self.distance)
        return model


class NearestMean(nn.Module):
    """Scores features [N, D] by how near the `means` [C, D] of the classes are."""

    def __init__(self, centre, means, distance):
        super().__init__()
        self.in_features, self.distance = means.shape[1], distance
        self.register_buffer("centre", centre)
        self.register_buffer("means", means)

    def forward(self, features):
        x = F.normalize(features - self.centre)
        along = x @ self.means.T
        if self.distance == "cos":
            return along / self.in_features
        lengths = (x**2).sum(dim=1, keepdim=True) + (self.means**2).sum(dim=1)
        return 2 * along - lengths


@hookimpl
def register_methods(register):
    register(NCM)
