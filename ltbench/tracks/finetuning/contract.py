"""What fine-tuning asks of methods beyond the contract of all, and grants them."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ltbench.contract.context import Grants, Run
from ltbench.contract.method import Method, hook, one
from ltbench.contract.recipes import Recipe

BACKBONES = "backbones"
"""What a method needs that acts on networks which were trained before, `run.granted.networks`."""


class FineTuner(Method):
    """A method with the hooks that this track adds; any other method joins it in a recipe."""

    @hook(one("choose the pre-trained networks", training=True))
    def pretrained(self, networks: Sequence[nn.Module], run: Run) -> Sequence[nn.Module]:
        """Those that are to learn, one or more; the first alone where nobody chooses.

        Each becomes a network of its own, whose scores are heads of one output. They are not to be
        changed here.
        """
        return networks[:1]

    @hook(one("decide what of a pre-trained network learns", training=True))
    def tune(self, network: nn.Module, run: Run) -> nn.Module:
        """A pre-trained network made ready to learn, before `build` of any method; all of it learns
        where nobody decides.

        `network` is a copy with a fresh linear head, `run.train` the rows to learn.
        """
        return network


@dataclass(frozen=True, kw_only=True)
class FinetuningGrants(Grants):
    """What the track grants: `networks` that were trained before, each with a fresh linear head.

    `run.model` starts as a copy of the first. They are not to be changed.
    """

    networks: tuple[nn.Module, ...]


class Tuning(Recipe):
    """A recipe on this track: it builds on each pre-trained network that its methods choose.

    `learning` is how many numbers of what was built are free to learn.
    """

    def __init__(self, *methods: Method) -> None:
        super().__init__(*methods, contract=FineTuner)
        self.learning = 0

    def build(self, model: nn.Module, run: Run) -> nn.Module:
        chosen = self.pretrained(run.granted.networks, run)
        made = [self._made(network, run) for network in chosen]
        whole = made[0] if len(made) == 1 else Together(made)
        self.learning = learning(whole)
        return whole

    def _made(self, network: nn.Module, run: Run) -> nn.Module:
        """Of two copies of one network two equal ones are made, so each draws the same."""
        devices = [run.device] if run.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            return super().build(self.tune(copy.deepcopy(network), run), run)


class Together(nn.Module):
    """Networks side by side: their features stand one after the other, their heads in one tuple."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        heads = [network.get_submodule("head") for network in networks]
        for network in networks:
            network.head = nn.Identity()
        self.bodies = nn.ModuleList(networks)
        self.head = Parted(heads)

    def features(self, x: Tensor) -> Tensor:
        """The features [N, D] of inputs, those of all networks."""
        return torch.cat([body.features(x) for body in self.bodies], dim=1)  # type: ignore[operator]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        scores: tuple[Tensor, ...] = self.head(self.features(x))
        return scores


class Parted(nn.Module):
    """Heads, each on its own part of the features [N, D]."""

    def __init__(self, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)
        self.widths = [int(head.in_features) for head in heads]  # type: ignore[arg-type]
        self.in_features = sum(self.widths)

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        parts = features.split(self.widths, dim=1)
        return tuple(head(part) for head, part in zip(self.heads, parts, strict=True))


class Frozen(nn.Module):
    """A pre-trained network of which the head alone learns, and what is put in beside.

    Its weights become buffers, so that no phase and no optimizer has them learn, and it stays in
    evaluation mode, so that its statistics stand still.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.head = network.get_submodule("head")
        network.head = nn.Identity()
        for module in network.modules():
            for name, parameter in [*module.named_parameters(recurse=False)]:
                delattr(module, name)
                module.register_buffer(name, parameter.detach())
        self.body = network

    def train(self, mode: bool = True) -> "Frozen":
        super().train(mode)
        self.body.eval()
        return self

    def features(self, x: Tensor) -> Tensor:
        """The features [N, D] of inputs."""
        out: Tensor = self.body.features(x)  # type: ignore[operator]
        return out

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.features(x))
        return scores


def learning(model: nn.Module) -> int:
    """How many numbers of a network are free to learn."""
    return sum(parameter.numel() for parameter in model.parameters())
