"""Imbalanced SAM: sharpness-aware minimisation of the tail alone (Zhou et al., ICCV 2023)."""

import torch

from ltbench import Choice, Method, Positive, hookimpl


class ImbSAM(Method):
    """Updates with the head classes' gradient here and the tail classes' gradient `rho` uphill.

    Uphill is the way of the tail's own gradient, all parameters as one vector; both parts are
    divided by the rows of the whole batch. Tail classes have fewer than `eta` rows. The paper's
    eta of 20 is for CIFAR-100 and leaves CIFAR-10 at factor 100 without a tail, where this is
    plain training; so eta is the median class here, our choice, unless it is given. The paper's
    code also doubles the tail's loss, which its formula does not. Three passes a step.
    """

    name = "imbsam"
    reference = "arXiv:2308.07815"
    space = {"rho": Choice(0.01, 0.02, 0.05, 0.1, 0.2, 0.5)}  # SAM's grid

    def __init__(self, rho: Positive = 0.05, eta: Positive | None = None):
        self.rho = rho
        self.eta = eta

    def prepare(self, run):
        eta = run.counts.quantile(0.5) if self.eta is None else self.eta
        self.flattened = (run.counts < eta).to(run.counts.dtype)

    @torch.no_grad()
    def step(self, closure, optimizer, run):
        """`flattened` [C] is the part of each class's loss that is taken uphill."""
        closure(1 - self.flattened)
        parameters = [p for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
        here = [p.grad for p in parameters]
        closure(self.flattened)
        gradients = [p.grad for p in parameters]
        before = [p.clone() for p in parameters]
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        torch._foreach_add_(parameters, torch._foreach_mul(gradients, self.rho / (norm + 1e-12)))
        closure(self.flattened)
        torch._foreach_copy_(parameters, before)
        torch._foreach_add_([p.grad for p in parameters], here)
        optimizer.step()


@hookimpl
def register_methods(register):
    register(ImbSAM)
