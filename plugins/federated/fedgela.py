"""A fixed simplex frame that each client scales by its own counts (Fan et al., NeurIPS 2023)."""

import torch
from torch import nn
from torch.nn.functional import batch_norm

from ltbench import Positive, hookimpl
from ltbench.tracks.federated.contract import CLIENTS, Federating
from ltbench_plugins.optimizers.etf_classifier import simplex_frame


class FedGELA(Federating):
    """Scores f M of a frame for all, f (phi M) / T in training and f (phi M) on a client.

    f are features after two linear layers with ReLU between and BatchNorm at the end, M [D, C] a
    simplex frame, phi_c = C n_kc / n_k of the client: a class that it lacks has the score 0, and is
    not left out. T is 0.2 as in its code; the command of its readme says 1e-5. Departures:
    gradients are clipped at norm `clip`, 1, where its code has 20, at which our networks do not
    learn; clients count by rows, in its code by batches; it reports the best test accuracy over
    local epochs, we the last.
    """

    name = "fedgela"
    reference = "NeurIPS 2023, bilateral curation for partially class-disjoint data"
    needs = frozenset({CLIENTS})

    def __init__(self, temperature: Positive = 0.2, clip: Positive = 1.0):
        self.temperature = temperature
        self.clip = clip

    def build(self, model, run):
        like = next(model.head.parameters())
        model.head = EncodedFrame(model.head.in_features, run.num_classes).to(like.dtype)
        return model

    def adjust(self, scores, labels, run):
        return scores * lengths(run) / self.temperature

    def step(self, closure, optimizer, run):
        closure()
        for group in optimizer.param_groups:
            nn.utils.clip_grad_norm_(group["params"], self.clip)
        optimizer.step()

    def personal(self, model, rows, run):
        model.head.lengths.copy_(lengths(run))
        return model


def lengths(run):
    """phi [C]: how many times its even share each class has of the client's rows."""
    counts = run.exact_counts
    return run.num_classes * counts / counts.sum()


class EncodedFrame(nn.Module):
    """Products of encoded features [N, D] with the columns of a fixed frame, of some `lengths`."""

    def __init__(self, in_features, num_classes):
        super().__init__()
        self.in_features = in_features
        width = max(in_features, num_classes)
        self.encoder = nn.Sequential(
            nn.Linear(in_features, in_features), nn.ReLU(), nn.Linear(in_features, width)
        )
        self.norm = nn.BatchNorm1d(width)
        self.register_buffer("frame", simplex_frame(width, num_classes))
        self.register_buffer("lengths", torch.ones(num_classes))

    def forward(self, features):
        features, norm = self.encoder(features), self.norm
        if len(features) == 1 and norm.training:  # a single row has no statistics of its own
            at = norm.running_mean, norm.running_var, norm.weight, norm.bias
            return batch_norm(features, *at, eps=norm.eps) @ (self.frame * self.lengths)
        return norm(features) @ (self.frame * self.lengths)


@hookimpl
def register_methods(register):
    register(FedGELA)
