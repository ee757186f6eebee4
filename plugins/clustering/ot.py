"""Balanced optimal transport: pseudo-labels of equal mass in all clusters (Asano et al., 2020)."""

import torch

from ltbench import NonNegative, Positive, hookimpl
from ltbench_plugins.clustering.p2ot import P2OT, Count


class OT(P2OT):
    """P2OT with all mass moved from the start, to clusters of exactly equal sizes.

    Departures from the paper, whose SeLa makes hard labels of `epsilon` 1 / 25 at a hundred
    moments: labels are soft, fresh in each step, and of the other view.
    """

    name = "ot"
    reference = "arXiv:1911.05371"

    def __init__(self, epsilon: Positive = 0.1, heads: Count = 2, weight: NonNegative = 1.0):
        self.epsilon, self.heads, self.weight = epsilon, heads, weight

    gamma = torch.inf

    def moved(self, progress):
        return torch.ones_like(progress)


@hookimpl
def register_methods(register):
    register(OT)
