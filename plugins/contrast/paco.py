"""Parametric contrastive learning (PaCo: Cui et al., ICCV 2021)."""

import copy
from typing import Annotated

import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import nn

from ltbench import LogUniform, Method, NonNegative, Positive, Share, hookimpl
from ltbench.toolbox import another_view

WIDTH = 128  # of what is contrasted


class PaCo(Method):
    """One softmax over the classes and over the rows of the batch and of a queue of keys.

    The classes' scores carry the log prior. The true class is wanted with weight beta, each row of
    that class with weight alpha; alpha 0 leaves balanced softmax with all rows as rivals. Keys are
    other views of past and present rows, made by a copy of the network that follows it with
    `momentum`, as in the paper; 0 uses the network itself. alpha, temperature and queue are those
    of the paper's code for CIFAR-100; for ImageNet-LT it has alpha 0.05 and temperature 0.2. The
    more rows of a class the queue holds, the less its own score is wanted, so few classes call for
    a small alpha. Departures from that code: the projector is 128 wide and not normalised (32 with
    BatchNorm there), and the batch's own keys have their place in the queue (beside it there).

    The part of the classes is the step's own loss, so that other methods act on it; what the rows
    add to it makes the whole.
    """

    name = "paco"
    reference = "arXiv:2107.12028"
    corrects = "prior"
    space = {"alpha": LogUniform(0.005, 0.1), "temperature": LogUniform(0.03, 0.3)}

    def __init__(
        self,
        alpha: NonNegative = 0.01,
        beta: Positive = 1.0,
        temperature: Positive = 0.05,
        queue: Annotated[int, Meta(ge=1)] = 1024,
        momentum: Share = 0.999,
    ):
        self.alpha = alpha
        self.beta = beta
        self.temperature = temperature
        self.queue = queue
        self.momentum = momentum

    def build(self, model, run):
        width = model.head.in_features
        model.projector = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, WIDTH))
        run.keep("paco", Keys(model, self.queue)).train()
        return model

    def batch(self, batch, run):
        if run.train is not None:  # outside of training there are no stored rows
            keys = run.kept["paco"]
            keys.follow(run.model, self.momentum)
            keys.add(another_view(batch, run), run.train.labels[batch.rows], run)
        return batch

    def adjust(self, scores, labels, run):
        return scores + run.seen.log()

    def extra(self, output, batch, run):
        if run.train is None:
            return None
        n, keys = len(batch.rows), run.kept["paco"]
        z = F.normalize(run.model.projector(output.features[:n]))
        similarity = z @ torch.cat([z, keys.vectors]).T / self.temperature
        scores = [head[:n] + run.seen.log() for head in output.heads]
        added = [
            share * self.addition(head, similarity, labels, torch.cat([labels, keys.labels]))
            for head in scores
            for labels, share in batch.targets
        ]
        return torch.stack(added).sum(0).mean()

    def addition(self, scores, similarity, labels, owners):
        """What rows of classes `owners` [M] add to the cross-entropy [N] of adjusted scores [N, C].

        The log of the joint sum of exponentials is that of the classes plus a softplus.
        """
        itself = torch.eye(*similarity.shape, dtype=torch.bool, device=owners.device)
        others = (owners >= 0) & ~itself
        mates = others & (labels[:, None] == owners)
        rivals = similarity.masked_fill(~others, -torch.inf).logsumexp(1)
        true = scores.gather(1, labels[:, None])
        wanted = self.alpha * (true - similarity).masked_fill(~mates, 0).sum(1)
        wanted = wanted / (self.beta + self.alpha * mates.sum(1, dtype=scores.dtype))
        return F.softplus(rivals - scores.logsumexp(1), threshold=40) + wanted


class Keys(nn.Module):
    """A ring of unit vectors [size, WIDTH] with their classes, and the network that makes them.

    A place that is still empty has class -1.
    """

    def __init__(self, model, size):
        super().__init__()
        self.encoder = copy.deepcopy(model)
        self.encoder.head = nn.Identity()
        self.register_buffer("vectors", torch.zeros(size, WIDTH))
        self.register_buffer("labels", torch.full((size,), -1))
        self.register_buffer("place", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def follow(self, model, momentum):
        """Moves the encoder towards the network; it starts as its copy."""
        leading = model.state_dict()
        empty = (self.labels < 0).all()
        pace = torch.where(empty, 1.0, 1 - momentum)
        for name, parameter in self.encoder.named_parameters():
            parameter.lerp_(leading[name], pace.to(parameter.dtype))
        for name, buffer in self.encoder.named_buffers():
            buffer.copy_(torch.where(empty, leading[name], buffer))

    @torch.no_grad()
    def add(self, inputs, labels, run):
        vectors = F.normalize(self.encoder.projector(run.through(self.encoder, inputs)))
        size = len(self.labels)
        vectors, labels = vectors[-size:], labels[-size:]
        places = (self.place + torch.arange(len(labels), device=labels.device)) % size
        self.vectors[places], self.labels[places] = vectors, labels
        self.place.add_(len(labels)).remainder_(size)


@hookimpl
def register_methods(register):
    register(PaCo)
