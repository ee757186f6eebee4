"""TRADES: rows as they are, and answers alike around them (Zhang et al., ICML 2019)."""

from dataclasses import replace

import torch

from ltbench import LogUniform, Method, NonNegative, hookimpl
from ltbench.tracks.robust.contract import ATTACK, attacks


class TRADES(Method):
    """Adds `beta` times KL(p(x) || p(x')), the mean over rows, to the loss of clean rows.

    x' maximises that divergence, from normal noise of deviation 0.001: at x itself its gradient is
    0. Both sides of the outer term get gradients, as in the code; there and in its experiments beta
    is 6. Where a recipe has several heads, p are of the mean of their scores.
    """

    name = "trades"
    reference = "arXiv:1901.08573"
    needs = frozenset({ATTACK})
    space = {"beta": LogUniform(0.5, 12.0)}

    def __init__(self, beta: NonNegative = 6.0):
        self.beta = beta

    def batch(self, batch, run):
        if self.beta == 0 or not attacks(run):
            return batch
        x, labels = batch.inputs[: len(batch.rows)], batch.targets[0][0]
        clean = run.granted.scores(x, run)
        moved = run.granted.attack(x, labels, run, lambda z: divergence(clean, z), "normal")
        return replace(batch, inputs=torch.cat([batch.inputs, moved]))

    def extra(self, output, batch, run):
        if self.beta == 0:
            return None
        n, scores = len(batch.rows), torch.stack(output.heads).mean(dim=0)
        return self.beta * divergence(scores[:n], scores[-n:]).mean()


def divergence(scores, others):
    """KL(softmax(scores) || softmax(others)) of each row [N]."""
    log_p, log_q = scores.log_softmax(dim=1), others.log_softmax(dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=1)


@hookimpl
def register_methods(register):
    register(TRADES)
