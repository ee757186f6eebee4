"""Networks, one file each: its `Options`, and a `Network` that is `Branched`."""

from importlib import import_module
from importlib.resources import files
from typing import Any

from torch import Tensor, nn

from ltbench.errors import UnknownName
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


def known() -> list[str]:
    return sorted(
        file.name.removesuffix(".py")
        for file in files(__package__).iterdir()
        if file.name.endswith(".py") and file.name not in ("__init__.py", "heads.py")
    )


def build(
    name: str, shape: tuple[int, ...], num_classes: int, options: dict[str, Any]
) -> nn.Module:
    """A fresh network for inputs of `shape`, initialised from torch's global generator.

    Raises:
        LTBenchError: an unknown network or option.
    """
    if name not in known():
        raise UnknownName("network", name, known(), where="in the protocol's [network]")
    module = import_module(f"{__package__}.{name}")
    checked = convert(f"network {name}", options, module.Options)
    model: nn.Module = module.Network(shape, num_classes, checked)
    return model
