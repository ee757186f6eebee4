"""Peers weigh others' classes by how well these serve on own rows (Verbraeken et al., 2021)."""

import torch
import torch.nn.functional as F

from ltbench import hookimpl
from ltbench.tracks.federated.contract import PEERS, Federating, last_layer

BOUND = 100.0  # least that a score falls to, for a class of one's own; and what scores are read by
HAD = "classes"  # under which peers report how many they have


class Bristle(Federating):
    """Every row of a peer's last layer is taken as far as it serves the rows that one put aside.

    With F1 of a class by the own layer and by a peer's, d = 10 |difference|, a score is d^(3 +
    F1_own) where the peer is better, else -d^(4 + F1_own), at least -100. A row is taken with
    weight max(0, 10 sigmoid(score / 100) - 4) times the peer's certainty, max(0, mean - deviation)
    of its F1 over the classes that it knows: the best so many, of which it reports the number. A
    class that one lacks is taken with the sum of the peer's scores, which nothing bounds. The own
    row has weight 1. All but the last layer stays one's own.

    Departures: it hears all peers, where its code takes ten at random; it asks rows put aside,
    where its code asks test rows; without such it asks those it trained on, and says so.
    """

    name = "bristle"
    reference = "arXiv:2110.11006"
    needs = frozenset({PEERS})

    def report(self, model, rows, run):
        return {HAD: (run.exact_counts > 0).sum()}

    def aggregate(self, updates, run):
        me = next(k for k, one in enumerate(updates) if one.client == run.granted.client)
        others = [one for k, one in enumerate(updates) if k != me]
        own = updates[me].state
        if not others:
            return own
        layers = torch.stack([last_layer(one.state, "bristle") for one in (updates[me], *others)])
        has = run.exact_counts > 0
        rows = self.asked(run)
        features = F.pad(run.features(rows.inputs), (0, 1), value=1.0)
        scored = f1(features @ layers.mT, rows.labels, has.nonzero()[:, 0])
        known = torch.stack([one.reported[HAD] for one in others])
        within, beyond = weights(scored[0], scored[1:], known)
        taken = beyond[:, None].repeat(1, run.num_classes)
        taken[:, has] = within
        mixed = integrated(layers[0], layers[1:], taken).to(layers.dtype)
        return {**own, "head.weight": mixed[:, :-1], "head.bias": mixed[:, -1]}

    def asked(self, run):
        rows = run.granted.validation
        if rows is not None and len(rows):
            return rows
        run.note("no rows were put aside; bristle asks those it trained on")
        return run.train


def f1(scores, labels, classes):
    """F1 [K, some] of some classes, by the scores [K, N, C] of each of K."""
    decided = scores.nan_to_num(-torch.inf).argmax(dim=2)[:, :, None] == classes
    truth = labels[:, None] == classes
    both = (decided & truth).sum(dim=1)
    return 2 * both / (decided.sum(dim=1) + truth.sum(dim=0)).clamp(min=1)


def weights(own, others, known):
    """The weight of each peer for each own class [P, F], and for any other class [P].

    `own` [F] and `others` [P, F] are F1 of the own classes; of those a peer knows the `known` [P]
    best, at most all.
    """
    best = others.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    knows = best < known[:, None]
    number = knows.sum(dim=1).clamp(min=1)
    mean = (others * knows).sum(dim=1) / number
    spread = ((others - mean[:, None]).square() * knows).sum(dim=1).div(number).sqrt()
    certainty = (mean - spread).clamp(min=0)
    gap = 10 * (own - others).abs()
    scores = torch.where(others > own, gap ** (3 + own), -(gap ** (4 + own)))
    within = shared(scores.clamp(min=-BOUND)) * certainty[:, None] * knows
    return within, shared((scores * knows).sum(dim=1)) * certainty


def shared(score):
    return (10 * torch.sigmoid(score / BOUND) - 4).clamp(min=0)


def integrated(own, others, taken):
    """The mean of the own rows [C, D] and those of others [P, C, D], these by `taken` [P, C]."""
    others = others.nan_to_num()  # what nobody takes must not spoil a sum
    return (own + (taken[:, :, None] * others).sum(dim=0)) / (1 + taken.sum(dim=0))[:, None]


@hookimpl
def register_methods(register):
    register(Bristle)
