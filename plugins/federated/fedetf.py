"""A fixed simplex frame as the head of all clients (Li et al., ICCV 2023)."""

import torch
import torch.nn.functional as F
from torch import nn

from ltbench import Positive, hookimpl
from ltbench.tracks.federated.contract import CLIENTS, Federating
from ltbench_plugins.optimizers.etf_classifier import simplex_frame


class FedETF(Federating):
    """Projected features of length 1 against a fixed frame, with balanced softmax of the client.

    Scores are s f M: f the features after a linear projection, brought to length 1, M [D, C] a
    simplex frame that is the same on all clients, s a scale that learns and is averaged like any
    parameter. The loss is cross-entropy of s f M + log n_kc, where a class without rows counts one.

    To decide its own rows a client trains the network for `epochs` epochs at `rate` times the
    protocol's rate, then, in turns, the frame alone and the projection alone, plainly, at
    `frame_rate` and `projection_rate` of its code, for as many. Departures: the code begins with s
    at 1 in ResNets and 10 in another network, we with `scale`; it takes 20 turns of 3 epochs and
    keeps the best on 30 % of the client's rows, we take `turns` and keep the last; it decides by
    f M without s, which is the same.
    """

    name = "fedetf"
    reference = "arXiv:2303.10058"
    needs = frozenset({CLIENTS})
    corrects = "prior"

    def __init__(
        self,
        scale: Positive = 1.0,
        turns: int = 20,
        epochs: int = 3,
        rate: Positive = 0.1,
        frame_rate: Positive = 0.1,
        projection_rate: Positive = 0.05,
    ):
        self.scale = scale
        self.turns = turns
        self.epochs = epochs
        self.rate = rate
        self.frame_rate = frame_rate
        self.projection_rate = projection_rate

    def build(self, model, run):
        like = next(model.head.parameters())
        model.head = FrameHead(model.head.in_features, run.num_classes, self.scale).to(like.dtype)
        return model

    def adjust(self, scores, labels, run):
        return scores + run.counts.log()

    def personal(self, model, rows, run):
        if self.epochs < 1:
            return model
        run.granted.train(self.epochs, self.rate * run.phase.lr)
        model.head.frame = nn.Parameter(model.head.frame.clone())
        for _ in range(self.turns):
            run.granted.train(self.epochs, self.frame_rate, learn="head.frame")
            run.granted.train(self.epochs, self.projection_rate, learn="head.projection")
        return model


class FrameHead(nn.Module):
    """Scaled scalar products of projected features [N, D] with the columns of a fixed frame."""

    def __init__(self, in_features, num_classes, scale):
        super().__init__()
        self.in_features = in_features
        width = max(in_features, num_classes)
        self.projection = nn.Linear(in_features, width)
        self.scale = nn.Parameter(torch.tensor(scale))
        self.register_buffer("frame", simplex_frame(width, num_classes))

    def forward(self, features):
        return self.scale * (F.normalize(self.projection(features)) @ self.frame)


@hookimpl
def register_methods(register):
    register(FedETF)
