"""Unbalanced optimal transport: clusters may differ in size (the UOT of P2OT, ICLR 2024)."""

import torch

from ltbench import NonNegative, Positive, hookimpl
from ltbench_plugins.clustering.p2ot import P2OT, Count


class UOT(P2OT):
    """P2OT with all mass moved from the start: a row's label sums to 1, and `gamma` says how near
    clusters stay to equal sizes."""

    name = "uot"
    reference = "arXiv:2401.09266"

    def __init__(
        self,
        gamma: Positive = 1.0,
        epsilon: Positive = 0.1,
        heads: Count = 2,
        weight: NonNegative = 1.0,
    ):
        self.gamma, self.epsilon, self.heads, self.weight = gamma, epsilon, heads, weight

    def moved(self, progress):
        return torch.ones_like(progress)


@hookimpl
def register_methods(register):
    register(UOT)
