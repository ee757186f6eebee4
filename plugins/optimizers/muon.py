"""Muon: matrices move along their orthogonalised momentum (Jordan et al., 2024)."""

from typing import Literal

import torch

from ltbench import LogUniform, Method, NonNegative, Positive, Share, hookimpl


class Muon(Method):
    """Moves each hidden matrix by lr sqrt(max(1, rows / columns)) times its orthogonal direction.

    The direction is Nesterov momentum m, orthogonalised by five Newton-Schulz steps; a
    convolution is the matrix [out, all the rest], also in that factor, which the author's code
    takes from the kernel's sides. What is left, that is the head, biases and norms, goes by the
    protocol's SGD as in the author's CIFAR-10 record, or with `rest="adamw"` by AdamW at 3e-4
    as in his package. `lr` takes the place of the protocol's rate, which is meant for SGD, and
    follows its schedule; weight decay is decoupled. It computes in the parameters' precision,
    torch.optim.Muon in bfloat16.
    """

    name = "muon"
    reference = "kellerjordan.github.io/posts/muon"
    space = {"lr": LogUniform(0.002, 0.2)}

    def __init__(
        self,
        lr: Positive = 0.02,
        momentum: Share = 0.95,
        weight_decay: NonNegative = 0.0,
        rest: Literal["sgd", "adamw"] = "sgd",
    ):
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.rest = rest

    def optimizer(self, model, run):
        learning = [p for p in model.parameters() if p.requires_grad]
        head = {id(p) for p in model.head.parameters()}
        matrices = [p for p in learning if p.dim() > 1 and id(p) not in head]
        taken = {id(p) for p in matrices}
        rest = [p for p in learning if id(p) not in taken]
        groups = [
            {
                "params": matrices,
                "orthogonal": True,
                "lr": self.lr,
                "weight_decay": self.weight_decay,
                "decay": self.momentum,  # SGD gives a meaning to "momentum"
            },
            {"params": rest, "orthogonal": False},
        ]
        phase = run.phase
        if self.rest == "adamw":
            return MuonAndAdamW(groups, lr=3e-4, betas=(0.9, 0.95), eps=1e-10, weight_decay=0)
        return MuonAndSGD(
            groups,
            lr=phase.lr,
            momentum=phase.momentum,
            nesterov=phase.nesterov,
            weight_decay=phase.weight_decay,
        )


class OrthogonalFirst:
    """Moves the groups marked "orthogonal"; the optimizer it is mixed into moves the others."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            if group["orthogonal"]:
                for p in group["params"]:
                    self.move(p, group)
                    p.grad = None  # so that the other optimizer passes over it
        return super().step(closure)

    def move(self, p, group):
        if p.grad is None:
            return
        gradient, decay = p.grad.flatten(1), group["decay"]
        state = self.state[p]
        if not state:
            state["direction"] = torch.zeros_like(gradient)
            state["step"] = torch.zeros(())  # AdamW looks for one wherever there is a state
        direction = state["direction"].lerp_(gradient, 1 - decay)
        way = orthogonalised(gradient.lerp(direction, decay))
        rows, columns = way.shape
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.add_(way.view_as(p), alpha=-group["lr"] * max(1, rows / columns) ** 0.5)


class MuonAndSGD(OrthogonalFirst, torch.optim.SGD):
    """Muon for the groups marked "orthogonal", SGD for the others."""


class MuonAndAdamW(OrthogonalFirst, torch.optim.AdamW):
    """Muon for the groups marked "orthogonal", AdamW for the others."""


def orthogonalised(matrix):
    """A matrix with the same singular vectors, and singular values between about 0.7 and 1.2.

    Values that are nearly zero beside the largest stay small.
    """
    x = matrix / matrix.norm().clamp(min=1e-7)
    tall = len(x) > len(x.T)
    x = x.T if tall else x
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x  # steepest at zero, so fast
    return x.T if tall else x


@hookimpl
def register_methods(register):
    register(Muon)
