"""Filters taken out of a network for good, with all that depends on them, and what is left.

torch-pruning traces which parts depend on a filter; nothing is masked.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ltbench.contract.context import PREDICTED_AT_ONCE, Run
from ltbench.errors import Unmet

Kept = dict[str, Tensor]
"""The filters of each layer that stay, in their order."""


def kept(filters: int, keep: float) -> int:
    """How many of a layer's filters stay."""
    return max(1, round(filters * keep))


class Graph:
    """What depends on what in a network, which it prunes in place.

    `layers` are the names of the layers that may lose filters, each with those that take in what
    it puts out. Layers that share their filters with others stay whole, as those around a
    shortcut, and so does the `last` one, whose filters are the features: their width is the head's
    and the teacher's.
    """

    def __init__(self, model: nn.Module, run: Run) -> None:
        import torch_pruning

        self._remove = {
            nn.Conv2d: torch_pruning.prune_conv_out_channels,
            nn.Linear: torch_pruning.prune_linear_out_channels,
        }
        with torch.enable_grad():
            graph = torch_pruning.DependencyGraph()
            self.graph = graph.build_dependency(model, example(run))
        self.modules = dict(model.named_modules())
        self.layers: dict[str, list[str]] = {}
        self.last: str | None = None
        names = {module: name for name, module in self.modules.items()}
        for name, module in self.modules.items():
            if type(module) in self._remove and not f"{name}.".startswith("head."):
                giving, taking = self._around(module)
                if giving != [module]:
                    continue
                if any(names[m].startswith("head") for m in taking):
                    self.last = name
                else:
                    self.layers[name] = [names[m] for m in taking]
        if not self.layers:
            raise Unmet(f"no layer of {type(model).__module__} can lose filters; all set widths")

    def _around(self, module: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
        """The layers that lose filters together with one, and those that take in what they give."""
        giving: list[nn.Module] = []
        taking: list[nn.Module] = []
        for dependency, _ in self._group(module, [0]):
            found = dependency.target.module
            if type(found) in self._remove:
                gives = self.graph.is_out_channel_pruning_fn(dependency.handler)
                (giving if gives else taking).append(found)
        return giving, taking

    def _group(self, module: nn.Module, filters: list[int]) -> Any:
        return self.graph.get_pruning_group(module, self._remove[type(module)], filters)

    def keep(self, name: str, filters: Tensor) -> None:
        """Takes all other filters out of a layer."""
        module = self.modules[name]
        gone = torch.ones(len(module.weight), dtype=torch.bool)
        gone[filters.cpu()] = False
        if gone.any():
            self._group(module, gone.nonzero()[:, 0].tolist()).prune()


def example(run: Run) -> Tensor:
    """Rows to trace a network with."""
    assert run.train is not None
    return run.plain(run.train.inputs[:2].to(run.device))


def pruned(model: nn.Module, run: Run, keep: float | None = None) -> Kept:
    """Prunes every layer of a network to its most important filters, and tells which stayed.

    They are as important as the recipe says; by default, the sum of their absolute weights. `keep`
    is a share of the teacher's filters, that of the protocol where it is not given.
    """
    graph, keep = Graph(model, run), keep or run.granted.compressing.keep
    told = run.recipe.importance(model, run) if run.recipe is not None else None
    scores = told or {name: l1(graph.modules[name]) for name in graph.layers}
    whole = {name: len(run.granted.teacher.get_submodule(name).weight) for name in graph.layers}
    chosen = {name: largest(scores[name], kept(whole[name], keep)) for name in graph.layers}
    for name, filters in chosen.items():
        graph.keep(name, filters)
    return chosen


def l1(layer: nn.Module) -> Tensor:
    """The sum of the absolute weights of each filter [K]."""
    weight: Tensor = layer.weight  # type: ignore[assignment]
    return weight.detach().abs().flatten(1).sum(dim=1)


def largest(scores: Tensor, count: int) -> Tensor:
    """The positions of the largest scores, ascending; of equal ones the first."""
    return scores.argsort(descending=True, stable=True)[:count].sort().values


def weighted(model: nn.Module) -> list[str]:
    """The layers with filters, by name, without the head."""
    kinds = (nn.Conv2d, nn.Linear)
    found = (name for name, module in model.named_modules() if isinstance(module, kinds))
    return [name for name in found if not f"{name}.".startswith("head.")]


Seen = dict[str, tuple[Tensor, Tensor]]


@contextmanager
def watched(model: nn.Module, names: list[str]) -> Iterator[Seen]:
    """What goes into and comes out of layers in each pass, by name."""
    seen: Seen = {}

    def keeper(name: str) -> Any:
        def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen[name] = (inputs[0], output)

        return keep

    hooks = [model.get_submodule(name).register_forward_hook(keeper(name)) for name in names]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def portions(run: Run) -> Iterator[tuple[Tensor, Tensor]]:
    """The rows for fits without labels, as the network takes them, and their weights."""
    inputs, weights = run.granted.unlabelled()
    for part, weight in zip(
        inputs.split(PREDICTED_AT_ONCE), weights.split(PREDICTED_AT_ONCE), strict=True
    ):
        yield run.plain(part.to(run.device)), weight.to(run.device)


def size(model: nn.Module) -> int:
    """How many parameters a network has."""
    return sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def macs(model: nn.Module, inputs: Tensor) -> int:
    """The multiply-accumulate operations that a network takes for one row."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        model(inputs[:1])
    return int(counter.get_total_flops()) // 2


def stayed(layers: Mapping[str, Tensor], name: str, teacher: nn.Module) -> Tensor:
    """The filters of a layer that stayed, which are all of them where it was not pruned."""
    weight: Tensor = teacher.get_submodule(name).weight  # type: ignore[assignment]
    return layers.get(name, torch.arange(len(weight))).to(weight.device)
