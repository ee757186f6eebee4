"""Pooling the instances of a bag: attention (Ilse et al., ICML 2018), and the largest feature."""

from typing import Annotated

import torch
from msgspec import Meta
from torch import nn

from ltbench import hookimpl
from ltbench.tracks.bags.contract import BagMethod
from ltbench.tracks.bags.pooling import Pool

Width = Annotated[int, Meta(ge=1)]


class ABMIL(BagMethod):
    """Weighs instances h_k by a = softmax_k(w^T tanh(V h_k)); the bag is their sum a_k h_k.

    `hidden` is the paper's, for 500 features. Departures: the paper's code has two classes and a
    sigmoid, here a softmax over classes takes the place of that; budget and network of instances
    are the protocol's.
    """

    name = "abmil"
    reference = "arXiv:1802.04712"

    def __init__(self, hidden: Width = 128):
        self.hidden = hidden

    def pooling(self, width, run):
        return Attention(width, self.hidden)


class GatedABMIL(ABMIL):
    """Weighs instances by a = softmax_k(w^T (tanh(V h_k) * sigmoid(U h_k))), else as `abmil`."""

    name = "gated-abmil"

    def pooling(self, width, run):
        return GatedAttention(width, self.hidden)


class MaxPooling(BagMethod):
    """Takes of each feature the largest that an instance of the bag has.

    As the weight of an instance counts the share of features that are its own; of equal ones each
    has a part.
    """

    name = "max-pooling"
    reference = "none: a baseline of the field"

    def pooling(self, width, run):
        return Largest()


class Attention(Pool):
    """Weights [N, L] that a small network gives to each instance by itself, and a softmax."""

    def __init__(self, width, hidden):
        super().__init__()
        self.V, self.w = nn.Linear(width, hidden), nn.Linear(hidden, 1)

    def hidden(self, h):
        return self.V(h).tanh()

    def weights(self, h, filled):
        scores = self.w(self.hidden(h))[..., 0]
        return scores.masked_fill(~filled, -torch.inf).softmax(dim=1)


class GatedAttention(Attention):
    """The same, with a gate on what the score is made of."""

    def __init__(self, width, hidden):
        super().__init__(width, hidden)
        self.U = nn.Linear(width, hidden)

    def hidden(self, h):
        return self.V(h).tanh() * self.U(h).sigmoid()


class Largest(Pool):
    """The largest of each feature [N, D]."""

    def largest(self, h, filled):
        there = h.masked_fill(~filled[..., None], -torch.inf)
        return there, there.amax(dim=1, keepdim=True)

    def weights(self, h, filled):
        there, most = self.largest(h, filled)
        own = (there == most).to(h)
        return (own / own.sum(dim=1, keepdim=True)).mean(dim=-1)

    def forward(self, h, filled):
        return self.largest(h, filled)[1][:, 0]


@hookimpl
def register_methods(register):
    register(ABMIL)
    register(GatedABMIL)
    register(MaxPooling)
