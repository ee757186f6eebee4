"""What the track grants methods: the threat of its protocol, an attack within it, and teachers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ltbench.contract.context import Grants, Run, scored
from ltbench.errors import LTBenchError

ATTACK = "attack"
"""What a method needs that attacks its batches, by `run.granted.attack`."""

TEACHERS = "teachers"
"""What a method needs that learns of other networks, by `run.granted.teachers`."""

SLACK = 1e-4  # by which standardised pixels may leave their range as they are rounded
NORMAL = 0.001  # standard deviation of a normal start, as in the codes of TRADES and AT-BSL

Objective = Callable[[Tensor], Tensor]
Start = Literal["uniform", "normal"]


@dataclass(frozen=True)
class Threat:
    """An l-infinity ball of radius `eps` around an image of pixels in [0, 1].

    An attack takes so many `steps` of length `step` within it.

    Raises:
        LTBenchError: no such ball or attack is possible.
    """

    eps: float
    step: float
    steps: int

    def __post_init__(self) -> None:
        if not 0 <= self.eps <= 1:
            raise LTBenchError(f"eps is {self.eps:g}; pixels lie in [0, 1], so eps does as well")
        if self.steps < 0:
            raise LTBenchError(f"an attack takes {self.steps} steps; state 0 or more")
        if self.step < 0:
            raise LTBenchError(f"a step is {self.step:g} long; state 0 or more")


@dataclass(frozen=True, kw_only=True)
class RobustGrants(Grants):
    """What the track grants: the `threat` that training faces, and an attack within it.

    `teachers(run, balanced)` are two networks [natural, robust] for a method that needs "teachers",
    trained on the cell's own rows once it asks: one plainly, one under attack, both with balanced
    softmax if they are to be `balanced`. They are not to be changed. Ask in `build`, where a
    training that is resumed asks again.
    """

    threat: Threat
    teachers: Callable[..., tuple[nn.Module, nn.Module]] | None = None

    def attack(
        self,
        inputs: Tensor,
        labels: Tensor,
        run: Run,
        objective: Objective | None = None,
        start: Start = "uniform",
    ) -> Tensor:
        """Inputs [N, ...] in the ball around those given, at which an objective is large.

        `inputs` are as the network takes them. `objective` makes of scores [N, C] a number, or one
        a row, and is the cross-entropy with `labels` [N] if it is None. The network is in
        evaluation mode meanwhile; its parameters, their gradients and its statistics stay as they
        are. Each step counts as a pass over the rows.

        Raises:
            LTBenchError: an input is of no image with pixels in [0, 1].
        """
        model = run.model
        assert model is not None
        if objective is None:

            def objective(scores: Tensor) -> Tensor:
                return cross_entropy(scores, labels, reduction="sum")

        run.passes += self.threat.steps * len(inputs)
        with still(model):
            return pgd(
                lambda x: objective(mean_scores(model, x, run)),
                inputs,
                self.threat,
                run,
                noise(inputs, self.threat, run, run.rng, start),
            )

    def scores(self, inputs: Tensor, run: Run, model: nn.Module | None = None) -> Tensor:
        """The scores [N, C] of inputs as the network takes them, in evaluation mode, detached.

        They are those of the network that is trained, or of another `model`.
        """
        model = run.model if model is None else model
        assert model is not None
        with still(model), torch.no_grad():
            return mean_scores(model, inputs, run)


def attacks(run: Run) -> bool:
    """Whether there is an attack, and images to be attacked: not outside of a track that grants one
    and not in a phase on features."""
    return isinstance(run.granted, RobustGrants) and not run.phase.on_features


def pgd(
    loss: Objective, inputs: Tensor, threat: Threat, run: Run, start: Tensor | float = 0.0
) -> Tensor:
    """Steps along the sign of the gradient of a loss of inputs, each projected to the ball.

    Madry et al., arXiv:1706.06083. `start` is added to the inputs first. Eps and steps are of
    pixels: those of standardised inputs are divided by the deviation of their channel.

    Raises:
        LTBenchError: an input is of no image with pixels in [0, 1].
    """
    inputs = inputs.detach()
    low, high, unit = borders(inputs, run)
    if ((inputs < low - SLACK) | (inputs > high + SLACK)).any():
        raise LTBenchError(
            "an attack was given inputs outside of the pixels' range [0, 1]; give it images as "
            "the network takes them, before anything else is made of them"
        )
    inside = torch.maximum(inputs - threat.eps * unit, low)
    outside = torch.minimum(inputs + threat.eps * unit, high)
    x = (inputs + start).clamp(inside, outside)
    for _ in range(threat.steps):
        x.requires_grad_(True)
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(loss(x).sum(), x)
        x = (x.detach() + threat.step * unit * gradient.sign()).clamp(inside, outside)
    return x


def borders(inputs: Tensor, run: Run) -> tuple[Tensor, Tensor, Tensor]:
    """What black, white and one pixel unit are for the network, each to broadcast to inputs."""
    black, white = (run.views.standardised(torch.full_like(inputs[:1], v)) for v in (0.0, 1.0))
    return black, white, white - black


def noise(
    inputs: Tensor, threat: Threat, run: Run, rng: torch.Generator, start: Start = "uniform"
) -> Tensor:
    """Where an attack begins: anywhere in the ball, or next to the inputs."""
    drawn = torch.empty(inputs.shape, dtype=inputs.dtype, device=inputs.device)
    if start == "uniform":
        drawn.uniform_(-threat.eps, threat.eps, generator=rng)
    else:
        drawn.normal_(0, NORMAL, generator=rng)
    return drawn * borders(inputs, run)[2]


def mean_scores(model: nn.Module, inputs: Tensor, run: Run) -> Tensor:
    """The mean over heads of the scores [N, C]."""
    return torch.stack(scored(model, run.through(model, inputs)).heads).mean(dim=0)


@contextmanager
def still(model: nn.Module) -> Iterator[None]:
    """The network in evaluation mode, and afterwards as it was."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
