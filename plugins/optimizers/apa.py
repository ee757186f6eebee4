"""Adaptive parametric activations in place of ReLUs (Alexandridis et al., ECCV 2024)."""

import torch
import torch.nn.functional as F
from torch import nn

from ltbench import LTBenchError, Method, hookimpl


class APA(Method):
    """Replaces each ReLU by x * (l exp(-k x) + 1)^(-1/l), whose l and k are learned per layer.

    The gate is the sigmoid at l = k = 1 and exp(-exp(-k x)) as l goes to 0. l starts uniformly in
    0..1, k in 0.8..1.2, as in the code where the unit takes the place of a ReLU. There a gate
    alone, with another start, also stands in squeeze-and-excitation layers, which no network here
    has. A ReLU module that a network uses more than once has one l and one k for all its uses.
    """

    name = "apa"
    reference = "arXiv:2407.08567"

    def build(self, model, run):
        dtype = next(model.parameters()).dtype
        places = [
            (parent, name)
            for parent in model.modules()
            for name, child in parent.named_children()
            if isinstance(child, nn.ReLU)
        ]
        if not places:
            raise LTBenchError("apa replaces ReLU modules, and this network has none")
        for parent, name in places:
            setattr(parent, name, AGLU().to(dtype))
        return model


class AGLU(nn.Module):
    """x times its gate; one l and one k for the whole layer."""

    def __init__(self):
        super().__init__()
        self.l = nn.Parameter(torch.rand(()))
        self.k = nn.Parameter(0.8 + 0.4 * torch.rand(()))

    def forward(self, x):
        small = self.l.clamp(min=1e-4)  # no gradient below it
        # log of the gate: -log(1 + exp(log l - k x)) / l, which cannot overflow
        return x * torch.exp(-F.softplus(small.log() - self.k * x) / small)


@hookimpl
def register_methods(register):
    register(APA)
