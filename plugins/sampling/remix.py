"""Remix: mixup whose label leans to the rarer class (Chou et al., ECCV workshops 2020)."""

from dataclasses import replace

import torch

from ltbench import LogUniform, Method, Positive, Share, Uniform, hookimpl
from ltbench_plugins.sampling.mixup import beside


class Remix(Method):
    """Blends inputs as mixup does, in one share g ~ Beta(alpha, alpha) a batch.

    The label is blended in g too, unless one class of the pair has at least `kappa` times the rows
    of the other and its part of the input is below `tau`: then the rarer class is the whole label.
    The defaults are those of imbalanced-DL; `tau` 0 is mixup. Rows are counted as the phase
    presents them.
    """

    name = "remix"
    reference = "arXiv:2007.03943"
    corrects = "prior"
    space = {"kappa": LogUniform(1.5, 10.0), "tau": Uniform(0.0, 1.0)}

    def __init__(self, kappa: Positive = 3.0, tau: Share = 0.5, alpha: Positive = 1.0):
        self.kappa = kappa
        self.tau = tau
        self.alpha = alpha

    def batch(self, batch, run):
        n = len(batch.rows)
        x, unlabelled = batch.inputs[:n], batch.inputs[n:]
        both = torch.full((2,), float(self.alpha), device=x.device)
        share = torch._sample_dirichlet(both, generator=run.rng)[0]  # its first part is Beta
        order = torch.randperm(n, generator=run.rng, device=x.device)
        targets = []
        for labels, of in batch.targets:
            part = self.part(share, run.seen[labels], run.seen[labels[order]])
            targets += [(labels, part * of), (labels[order], (1 - part) * of)]
        return replace(
            batch,
            inputs=beside(torch.lerp(x[order], x, share), unlabelled),
            targets=targets,
            groups=tuple(g[pick] for g in batch.groups for pick in (slice(None), order)),
        )

    def part(self, share, first, second):
        """The share [N] of the first labels, given the rows of the classes of each pair [N]."""
        enough = self.kappa * (1 - 1e-5)  # a ratio of kappa itself must survive rounding
        rarer_second = (first >= enough * second) & (share < self.tau)
        rarer_first = (second >= enough * first) & (1 - share < self.tau)
        part = torch.where(rarer_second, 0, share)
        return torch.where(rarer_first, 1, part)


@hookimpl
def register_methods(register):
    register(Remix)
