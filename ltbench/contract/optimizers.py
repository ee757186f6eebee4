"""Stochastic gradient descent, as plain training uses it."""

from typing import Any

import torch
from torch import Tensor
from torch.optim.sgd import sgd


class SGD(torch.optim.SGD):
    """Torch's fused one to the bit, without what it asks of profilers and compilers at each step.

    That would be an eighth of a small network's step. Hooks on the step are not called. A parameter
    may have its first gradient after others had theirs.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            states = [self.state[p] for p in parameters]
            momenta: list[Tensor | None] = [state.get("momentum_buffer") for state in states]
            if any(momentum is not None for momentum in momenta):
                momenta = [
                    torch.zeros_like(parameter) if momentum is None else momentum
                    for parameter, momentum in zip(parameters, momenta, strict=True)
                ]
            sgd(
                parameters,
                [p.grad for p in parameters],
                momenta,
                fused=True,
                lr=group["lr"],
                momentum=group["momentum"],
                dampening=group["dampening"],
                nesterov=group["nesterov"],
                weight_decay=group["weight_decay"],
                maximize=group["maximize"],
            )
            if group["momentum"]:
                for state, momentum in zip(states, momenta, strict=True):
                    state["momentum_buffer"] = momentum

    step.hooked = True  # type: ignore[attr-defined]  # so that torch does not wrap it

    def zero_grad(self, set_to_none: bool = True) -> None:
        if not set_to_none:
            return super().zero_grad(False)
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None
