"""A backbone taught by a sparse fixed frame, with a head for all and one for each client.

FedLoGe: Xiao et al., ICLR 2024.
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from ltbench import Positive, Share, hookimpl
from ltbench.tracks.federated.contract import CLIENTS, Federating
from ltbench_plugins.optimizers.etf_classifier import simplex_frame

ABSENT = -1e4  # the score of a class that a client lacks


class FedLoGe(Federating):
    """Three heads: a fixed sparse frame teaches the backbone alone, two learn on its features.

    The head for all is averaged by rows, that of a client stays with it. Afterwards rows of the
    head for all are brought to `aligned`, 1.7 in its code, biases left as they are: that decides
    for all. A client multiplies them by the lengths of the rows of its own head, adds its own
    scores, and leaves out the classes it lacks.

    `sparsity` of the frame's entries, over the matrix, are 0. `steps` of Adam spread the angles of
    its columns and hold them to `length`, in steps of 1e-4. Departures: its code takes 10,000 steps
    and a length of 0.1, at which a small network learns little in twenty rounds; we bring columns
    to `length` and take no steps by default. It masks classes by a client's test rows, we by its
    training rows. Features narrower than there are classes have no simplex, and get random
    directions.
    """

    name = "fedloge"
    reference = "arXiv:2401.08977"
    needs = frozenset({CLIENTS})
    corrects = "prior"

    def __init__(
        self,
        length: Positive = 3.0,
        steps: int = 0,
        sparsity: Share = 0.6,
        aligned: Positive = 1.7,
    ):
        self.length = length
        self.steps = steps
        self.sparsity = sparsity
        self.aligned = aligned

    def build(self, model, run):
        like, width = next(model.head.parameters()), model.head.in_features
        frame = sparse_frame(width, run.num_classes, self.sparsity, self.length, self.steps)
        model.head = ThreeHeads(width, frame.to(like)).to(like)
        return model

    def enter(self, train, run):
        head = run.model.head
        if head.local is None:
            head.local = getattr(self, "local", None) or copy.deepcopy(head.shared)
        return train

    def report(self, model, rows, run):
        self.local, model.head.local = model.head.local, None  # before parameters are sent

    def finish(self, model, validation, run):
        model.head.local = None
        weight = model.head.shared.weight
        weight.data.copy_(self.aligned * F.normalize(weight))
        return model

    def personal(self, model, rows, run):
        head, local = model.head, getattr(self, "local", None)
        if local is not None:  # else it was never chosen
            head.local = local.eval().requires_grad_(False)
            head.shared.weight.data.mul_(local.weight.norm(dim=1, keepdim=True))
        head.absent = run.exact_counts == 0
        return model

    def combine(self, output, run):
        _, shared, *local = output.heads if len(output.heads) > 1 else (None, *output.heads)
        return shared + local[0] if local else shared


class ThreeHeads(nn.Module):
    """Scores of a fixed `frame` [D, C], of a head for all, and of a client's own if there is one.

    All but the frame see features [N, D] without a gradient. Where classes are `absent` [C], their
    scores for all are far below others.
    """

    def __init__(self, in_features, frame):
        super().__init__()
        classes = frame.shape[1]
        self.in_features = in_features
        self.register_buffer("frame", frame)
        self.register_buffer("bias", nn.Linear(in_features, classes).bias.detach().clone())
        self.shared = nn.Linear(in_features, classes)
        self.local = None
        self.absent = None

    def forward(self, features):
        fixed = features.detach()
        shared = self.shared(fixed)
        if self.absent is not None:
            shared = shared.masked_fill(self.absent, ABSENT)
        local = () if self.local is None else (self.local(fixed),)
        return features @ self.frame + self.bias, shared, *local


def sparse_frame(width, classes, sparsity, length, steps):
    """A simplex frame [D, C] with so large a share of zeros, and columns of a length."""
    random = torch.randn(width, classes, dtype=torch.float64)
    frame = simplex_frame(width, classes) if width >= classes else F.normalize(random, dim=0)
    zeros = torch.randperm(frame.numel())[: int(sparsity * frame.numel())]
    mask = torch.ones_like(frame).flatten().index_fill(0, zeros, 0.0).view_as(frame)
    # a column without any entry has no length
    frame = length * F.normalize(frame * mask, dim=0)
    return spread(frame, mask, length, steps) if steps else frame


def spread(frame, mask, length, steps):
    """The frame after some steps of Adam on `spread_loss`; where the mask is 0 it stays 0."""
    frame = frame.clone().requires_grad_()
    optimizer = torch.optim.Adam([frame], lr=1e-4)
    with torch.enable_grad():
        for _ in range(steps):
            optimizer.zero_grad()
            spread_loss(frame, length).backward()
            frame.grad *= mask
            optimizer.step()
    return frame.detach()


def spread_loss(frame, length):
    """How far lengths of columns are from the one asked for, less the mean least angle."""
    lengths = frame.norm(dim=0)
    columns = F.normalize(frame, dim=0)
    cosines = (columns.T @ columns).masked_fill(torch.eye(frame.shape[1], dtype=torch.bool), -1)
    nearest = cosines.max(dim=1).values.clamp(-0.99999, 0.99999)
    return (lengths - length).square().sum() - torch.acos(nearest).mean()


@hookimpl
def register_methods(register):
    register(FedLoGe)
