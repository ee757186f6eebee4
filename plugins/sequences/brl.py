"""BRL: parts of sequences mixed, with labels leaning to the tail, and late weights.

Balanced representation learning for long-tailed skeleton-based action recognition (Liu et al.,
arXiv:2308.14024). The formulas are those of its code, without what that does besides, by mistake:
(a) it makes one list of betas anew from itself in every late epoch, so that all but the first, the
third, ... have nearly equal weights; (b) it sets the kept joints before those that are taken, so
that none of a mixed row is in its place; (c) one share, that of the last row mixed, is that of the
whole batch; (d) it takes partners out of the list it is going through; (e) the share of a batch and
its weights are not those of a row: both losses are means over the batch, by their own weights.
Here joints keep their places, and each row has its share and its weight. That paper's further
stream, of differences between joints, is a matter of the inputs and left to the protocol.
"""

from dataclasses import replace

import torch

from ltbench import LogUniform, Method, Positive, Share, Uniform, hookimpl
from ltbench.tracks.sequences.contract import PARTS
from ltbench_plugins.sampling.mixup import beside
from ltbench_plugins.tables.class_weights import scaled

EXACT = 1e-5  # of a ratio of rows, which must survive rounding


class PartMix(Method):
    """In a share `ratio` of the rows the last part of the channels is that of another row.

    Its own label has the share `alpha`. `rebalanced` gives all of it to the rarer class of the two
    where the other has more than `k` times the rows, as the phase presents them.
    """

    name = "part-mix"
    reference = "arXiv:2308.14024"
    needs = frozenset({PARTS})
    corrects = "prior"
    neutral = {"ratio": 0.0}
    space = {"ratio": Uniform(0.05, 0.5), "alpha": Uniform(0.5, 1.0), "k": LogUniform(1.5, 10.0)}

    def __init__(
        self, ratio: Share = 1 / 16, alpha: Share = 0.64, k: Positive = 3.0, rebalanced: bool = True
    ):
        self.ratio, self.alpha, self.k, self.rebalanced = ratio, alpha, k, rebalanced

    def batch(self, batch, run):
        n = len(batch.rows)
        mixed = int(self.ratio * n)
        if not mixed or run.train is None:  # or a probe, which is granted no parts
            return batch
        own = torch.arange(n, device=batch.rows.device)
        order = torch.randperm(n, generator=run.rng, device=batch.rows.device)
        partner = own.scatter(0, order[:mixed], order.roll(-1)[:mixed])
        return self.taking(partner, batch, run)

    def taking(self, partner, batch, run):
        """The batch in which each row takes its last part from a partner [N], maybe itself."""
        n = len(partner)
        x, unlabelled = batch.inputs[:n], batch.inputs[n:]
        other = partner != torch.arange(n, device=partner.device)
        taken = other[:, None, None] & run.granted.parts[-1][:, None]
        targets = []
        for labels, of in batch.targets:
            own = torch.where(other, self.share(labels, labels[partner], run), 1.0)
            targets += [(labels, own * of), (labels[partner], (1 - own) * of)]
        return replace(
            batch,
            inputs=beside(torch.where(taken, x[partner], x), unlabelled),
            targets=targets,
            groups=tuple(g[pick] for g in batch.groups for pick in (slice(None), partner)),
        )

    def share(self, own, other, run):
        """The share [N] of the own labels in rows that take a part of rows of other labels."""
        n_own, n_other = run.seen[own], run.seen[other]
        share = torch.full_like(n_own, self.alpha)
        if not self.rebalanced:
            return share
        more = self.k * (1 + EXACT)
        share = torch.where(n_own > more * n_other, 0.0, share)
        return torch.where(n_other > more * n_own, 1.0, share)


class ActionAware(Method):
    """Weighs class c by the inverse of an effective number whose beta is its own, from `start` on.

    w_c = (1 - beta_c) / (1 - beta_c^n_c), and beta_c rises with n_c in a line, from 0.99 for the
    rarest class to 0.9999 for the largest. The start is that of the code, epoch 20 of 24.
    """

    name = "action-aware"
    reference = "arXiv:2308.14024"
    corrects = "prior"
    neutral = {"start": 1.0}
    space = {"start": Uniform(0.5, 0.95)}

    def __init__(self, start: Share = 19 / 24):
        self.start = start

    def prepare(self, run):
        n_c = run.seen * run.counts.sum()
        spread = (n_c.max() - n_c.min()).clamp(min=1)  # less than a row is rounding
        beta = 0.99 + 0.0099 * (n_c - n_c.min()) / spread
        self.weights = scaled((1 - beta) / -torch.expm1(n_c * beta.log()))

    def weight(self, labels, run):
        weight = self.weights[labels]
        return torch.where(run.progress < self.start, torch.ones_like(weight), weight)


class BRL(PartMix, ActionAware):
    """Both at once, as the paper has them: `part-mix+action-aware`."""

    name = "brl"
    neutral = {"ratio": 0.0, "start": 1.0}
    space = {**PartMix.space, **ActionAware.space}

    def __init__(
        self,
        ratio: Share = 1 / 16,
        alpha: Share = 0.64,
        k: Positive = 3.0,
        rebalanced: bool = True,
        start: Share = 19 / 24,
    ):
        PartMix.__init__(self, ratio, alpha, k, rebalanced)
        ActionAware.__init__(self, start)


@hookimpl
def register_methods(register):
    register(PartMix)
    register(ActionAware)
    register(BRL)
