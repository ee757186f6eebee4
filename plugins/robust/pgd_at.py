"""Adversarial training: each batch as an attack makes it (Madry et al., ICLR 2018)."""

from dataclasses import replace

import torch
from torch.nn.functional import cross_entropy

from ltbench import Method, hookimpl
from ltbench.tracks.robust.contract import ATTACK, attacks


class PGDAT(Method):
    """Trains on the batch's labelled rows as the protocol's attack moves them.

    The attack maximises cross-entropy with the scores as they are, whatever else a recipe does to
    them: with balanced softmax this is AT-BSL (arXiv:2403.10073), with a second stage that stage is
    adversarial as well. It begins anywhere in the ball, as in the paper; AT-BSL's code begins at
    normal noise of deviation 0.001. Mixed rows are attacked under their mixed labels. Rows at the
    side, and features, are left as they are.
    """

    name = "pgd-at"
    reference = "arXiv:1706.06083"
    roles = ("main", "head")
    needs = frozenset({ATTACK})

    def batch(self, batch, run):
        return with_moved(batch, attacked(batch, run)) if attacks(run) else batch


def attacked(batch, run, temperature=1.0, weights=None):
    """The labelled inputs [N, ...] of a batch, moved to raise the cross-entropy with targets.

    `weights` [C] are those of classes.
    """

    def loss(scores):
        scores = temperature * scores
        each = (cross_entropy(scores, y, weights, reduction="none") for y, _ in batch.targets)
        return sum(share * part for (_, share), part in zip(batch.targets, each, strict=True))

    inputs, labels = batch.inputs[: len(batch.rows)], batch.targets[0][0]
    return run.granted.attack(inputs, labels, run, loss)


def with_moved(batch, moved):
    """A batch whose labelled inputs are those moved; what stands at the side stays there."""
    rest = batch.inputs[len(batch.rows) :]
    return replace(batch, inputs=torch.cat([moved, rest]) if len(rest) else moved)


@hookimpl
def register_methods(register):
    register(PGDAT)
