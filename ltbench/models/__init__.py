"""Networks, one file each: its `Options`, and a `Network` that is `Branched`; heads, learners."""

from importlib import import_module
from importlib.resources import files
from typing import Any

from torch import Tensor, nn

from ltbench.contract.parts import NETWORKS
from ltbench.errors import LTBenchError, UnknownName
from ltbench.validation import convert


class Branched(nn.Module):
    """A network whose `head` scores what `branch` makes of what `trunk` makes of the inputs.

    Methods with experts grow further branches on the one trunk.
    """

    trunk: nn.Sequential
    branch: nn.Sequential
    head: nn.Module

    def new_branch(self, share: float = 1.0) -> tuple[nn.Sequential, int]:
        """A fresh branch with that share of the channels, and the width of its features."""
        raise NotImplementedError

    def features(self, x: Tensor) -> Tensor:
        """The features [N, D] of inputs."""
        out: Tensor = self.branch(self.trunk(x))
        return out

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.features(x))
        return scores


BESIDE = ("__init__.py", "heads.py", "learners.py")  # files that are no network


def own() -> list[str]:
    """The networks that come with ltbench."""
    return sorted(
        file.name.removesuffix(".py")
        for file in files(__package__).iterdir()
        if file.name.endswith(".py") and file.name not in BESIDE
    )


def known() -> list[str]:
    """Those, and what plugins have brought."""
    return sorted({*own(), *NETWORKS.parts})


def module_of(name: str) -> str:
    """The module that makes a network."""
    part = NETWORKS.parts.get(name)
    return f"{__package__}.{name}" if part is None else part.module


def build(
    name: str, shape: tuple[int, ...], num_classes: int, options: dict[str, Any]
) -> nn.Module:
    """A fresh network for inputs of `shape`, initialised from torch's global generator.

    Raises:
        LTBenchError: an unknown network or option, or a plugin's that is none.
    """
    if name not in known():
        raise UnknownName("network", name, known(), where="in the protocol's [network]")
    part = NETWORKS.parts.get(name)
    if part is not None:
        model = part.make(shape, num_classes, convert(f"network {name}", options, part.options))
        lacks = [one for one in ("features", "head") if not hasattr(model, one)]
        if not isinstance(model, nn.Module) or lacks:
            told = f"lacks {' and '.join(lacks)}" if lacks else "is no torch.nn.Module"
            raise LTBenchError(f"network {name} of {part.module} {told}")
        return model
    module = import_module(f"{__package__}.{name}")
    made: nn.Module = module.Network(
        shape, num_classes, convert(f"network {name}", options, module.Options)
    )
    return made
