"""Mixup: train on blends of two rows and of their losses (Zhang et al., ICLR 2018)."""

from dataclasses import replace

import torch

from ltbench import LogUniform, Method, Positive, hookimpl


class Mixup(Method):
    """Blends the batch with a permutation of itself; one share ~ Beta(alpha, alpha) a batch."""

    name = "mixup"
    reference = "arXiv:1710.09412"
    space = {"alpha": LogUniform(0.1, 4.0)}

    def __init__(self, alpha: Positive = 1.0):
        self.alpha = alpha

    def batch(self, batch, run):
        n = len(batch.rows)
        x, unlabelled = batch.inputs[:n], batch.inputs[n:]
        both = torch.full((2,), float(self.alpha), device=x.device)
        share = torch._sample_dirichlet(both, generator=run.rng)[0]  # its first part is Beta
        order = torch.randperm(n, generator=run.rng, device=x.device)
        return replace(
            batch,
            inputs=beside(torch.lerp(x[order], x, share), unlabelled),
            targets=[
                (labels[pick], part * of)
                for labels, of in batch.targets
                for pick, part in ((slice(None), share), (order, 1 - share))
            ],
            groups=tuple(g[pick] for g in batch.groups for pick in (slice(None), order)),
        )


def beside(inputs, unlabelled):
    """Inputs [N, ...] with further rows after them; without any, as they lie in memory."""
    return torch.cat([inputs, unlabelled]) if len(unlabelled) else inputs


@hookimpl
def register_methods(register):
    register(Mixup)
