"""Sharpness-aware minimisation (Foret et al., ICLR 2021)."""

import torch

from ltbench import Choice, Method, Positive, hookimpl


class SAM(Method):
    """Updates with the gradient taken `rho` uphill from the weights, all of them as one vector.

    Weight decay and momentum act in the update only; BatchNorm statistics move in the first of
    the two passes only.
    """

    name = "sam"
    reference = "arXiv:2010.01412"
    space = {"rho": Choice(0.01, 0.02, 0.05, 0.1, 0.2, 0.5)}  # the paper's grid

    def __init__(self, rho: Positive = 0.05):
        self.rho = rho

    @torch.no_grad()
    def step(self, closure, optimizer, run):
        closure()
        parameters = [p for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
        gradients = [p.grad for p in parameters]
        before = [p.clone() for p in parameters]
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        torch._foreach_add_(parameters, torch._foreach_mul(gradients, self.rho / (norm + 1e-12)))
        closure()
        torch._foreach_copy_(parameters, before)
        optimizer.step()


@hookimpl
def register_methods(register):
    register(SAM)
