"""Mixup across domains, as DomainBed has it (after Yan et al., 2020)."""

from dataclasses import replace

import torch

from ltbench import LogUniform, Method, Positive, hookimpl
from ltbench.tracks.domains.contract import domains_of, groups_in
from ltbench_plugins.sampling.mixup import beside


class InterDomainMixup(Method):
    """Blends each row with one of the next domain, in a cycle of the domains drawn for the batch.

    Each pair of domains has one share ~ Beta(alpha, alpha), and alpha is that of the code. The
    cycle goes through the domains that the batch has; one alone is mixed within itself. Departure:
    the code pairs the k-th rows of two minibatches of one size; here the other is drawn.
    """

    name = "inter-domain-mixup"
    reference = "arXiv:2001.00677"
    needs = frozenset({"groups"})
    expected_failures = {
        "domain numbers do not matter": "pairs of domains draw their shares one after the other"
    }
    space = {"alpha": LogUniform(0.1, 10.0)}  # DomainBed's

    def __init__(self, alpha: Positive = 0.2):
        self.alpha = alpha

    def batch(self, batch, run):
        n, groups = len(batch.rows), groups_in(batch)
        x, unlabelled = batch.inputs[:n], batch.inputs[n:]
        after = following(groups, domains_of(run), run)
        partner = torch.multinomial(
            (groups == after[groups][:, None]).to(run.counts), 1, generator=run.rng
        )[:, 0]
        both = torch.full((len(after), 2), float(self.alpha), device=x.device)
        share = torch._sample_dirichlet(both, generator=run.rng)[groups, 0]
        wide = share.view(-1, *[1] * (x.dim() - 1)).to(x.dtype)
        picks = ((slice(None), share), (partner, 1 - share))
        return replace(
            batch,
            inputs=beside(torch.lerp(x[partner], x, wide), unlabelled),
            targets=[(y[pick], part * of) for y, of in batch.targets for pick, part in picks],
            groups=tuple(g[pick] for g in batch.groups for pick, _ in picks),
        )


def following(groups, domains, run):
    """The domain [G] that comes after each in a random cycle of those that rows [N] have."""
    there = groups.bincount(minlength=domains) > 0
    cycle = torch.randperm(domains, generator=run.rng, device=groups.device)
    cycle = cycle[there[cycle]]
    after = torch.arange(domains, device=groups.device)
    after[cycle] = cycle.roll(-1)
    return after


@hookimpl
def register_methods(register):
    register(InterDomainMixup)
