"""What compression asks of methods beyond the contract of all, and what it grants them."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ltbench.contract.context import Batch, Grants, Output, Run, scored
from ltbench.contract.method import Method, Rule, hook, one
from ltbench.contract.recipes import Recipe, total
from ltbench.tracks.compression.problem import Compressing

Weighed = tuple[Tensor, Tensor]


def joined(given: list[Weighed | None]) -> Weighed | None:
    """Rows of several methods, one below the other, with their weights."""
    parts = list(zip(*(part for part in given if part is not None), strict=True))
    return (torch.cat(parts[0]), torch.cat(parts[1])) if parts else None


class Compressor(Method):
    """A method with the hooks that compression adds; any other method joins it in a recipe."""

    @hook(one("rank the filters"))
    def importance(self, model: nn.Module, run: Run) -> dict[str, Tensor] | None:
        """How much each filter of a layer [K] counts, by the layer's name, to those who prune.

        None is the sum of the absolute weights of each filter.
        """
        return None

    @hook(Rule(many=True, join=joined))
    def unlabelled(self, run: Run) -> Weighed | None:
        """Stored inputs [M, ...] that join what is fitted to inputs alone, and their weights [M].

        A training row has weight one; `run.granted.unlabelled()` gives all of them.
        """
        return None

    @hook(Rule(many=True, training=True, join=total))
    def mimic(self, output: Output, inputs: Tensor, run: Run) -> Tensor | None:
        """A scalar added to the loss that needs no labels: how far the output is from a teacher's.

        `inputs` are what the network took; `run.recipe.mimic` asks for it on any others.
        """
        return None


class Recovering(Recipe):
    """A recipe while a pruned network recovers: what mimics the teacher is part of its loss."""

    def __init__(self, *methods: Method) -> None:
        super().__init__(*methods, contract=Compressor)

    def beside(self, output: Output, batch: Batch, run: Run) -> list[Tensor | None]:
        return [self.mimic(output, batch.inputs, run), self.extra(output, batch, run)]


@dataclass(frozen=True, kw_only=True)
class CompressionGrants(Grants):
    """What the track grants a method that compresses, beside what all methods know.

    `run.model` starts as a copy of `teacher`, which is not to be changed; `compressing` says what
    may be kept of it, and `ood` [M, ...] are stored inputs of other things than the classes, for a
    method that needs "ood".
    """

    run: Run = field(repr=False)
    teacher: nn.Module
    compressing: Compressing
    ood: Tensor | None = None

    @torch.no_grad()
    def taught(self, inputs: Tensor) -> Output:
        """What the teacher makes of inputs, as the network takes them."""
        return scored(self.teacher, self.run.through(self.teacher, inputs))

    def unlabelled(self) -> Weighed:
        """Stored inputs for fits that need no labels, and what each counts.

        The training rows count one; after them come those that methods add.
        """
        run = self.run
        assert run.train is not None
        inputs, weights = run.train.inputs, run.counts.new_ones(len(run.train))
        added = run.recipe.unlabelled(run)
        if added is None:
            return inputs, weights
        return torch.cat([inputs, added[0]]), torch.cat([weights, added[1]])
