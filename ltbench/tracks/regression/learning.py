"""How recipes learn values: what methods of classes are given in their place."""

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from ltbench.contract.context import Batch, Rows, Run
from ltbench.contract.method import Method, hooks
from ltbench.contract.recipes import Recipe
from ltbench.errors import LTBenchError, Unmet
from ltbench.tracks.regression.contract import Regression
from ltbench.training.engine import shares

ON_BINS = frozenset(
    {
        *("resample", "build", "phases", "prepare", "optimizer", "step"),
        *("sampling_weights", "weight", "batch"),
    }
)
"""The hooks in which a method of classes can serve here."""


class Valued(Recipe):
    """A recipe on this track, whose rows have values.

    A method of classes is given the bins of values in their place by `sampling_weights`, `weight`
    and `resample`, so draws, weights and choices of rows act on bins unchanged.
    """

    def __init__(self, *methods: Method) -> None:
        super().__init__(*methods, contract=Regression)
        self.drawn: Tensor | None = None

    def resample(self, train: Rows, run: Run) -> Rows:
        for method in self.chain("resample", run):
            one = method.resample
            train = one(train, run) if of_values(method) else chosen(method, train, run)
        return train

    def sampling_weights(self, labels: Tensor, run: Run) -> Tensor | None:
        chain, self.drawn = self.chain("sampling_weights", run), None
        if chain and run.train is not None:  # a probe of phases has no rows
            given = labels if of_values(chain[0]) else run.granted.bins(labels)
            self.drawn = chain[0].sampling_weights(given, run)
        return self.drawn

    def prepare(self, run: Run) -> None:
        """Methods prepare once `run.seen` are the shares of bins as they are drawn."""
        if run.train is not None:
            run.seen = shares(run.granted.bins(run.train.labels), self.drawn, run.counts)
            super().prepare(run)

    def batch(self, batch: Batch, run: Run) -> Batch:
        for method in self.chain("batch", run):
            try:
                batch = method.batch(batch, run)
            except (IndexError, TypeError, RuntimeError) as error:
                if of_values(method):
                    raise
                raise LTBenchError(
                    f"{method.name} takes the targets of a batch for classes, but they are numbers"
                ) from error
        return batch

    def weight(self, labels: Tensor, run: Run) -> Tensor | None:
        bins, product = None, None
        for method in self.chain("weight", run):
            if not of_values(method) and bins is None:
                bins = run.granted.bins(labels)
            factor = method.weight(labels if of_values(method) else bins, run)  # type: ignore[arg-type]
            if factor is not None:
                product = factor if product is None else product * factor
        return product

    def criterion(self, scores: Tensor, labels: Tensor, run: Run) -> Tensor:
        chain = self.chain("criterion", run)
        return (chain[0] if chain else ABSOLUTE).criterion(scores, labels, run)


ABSOLUTE = Regression()


def of_values(method: Method) -> bool:
    """Whether the hooks of a method take values as they are."""
    return isinstance(method, Regression)


def chosen(method: Method, train: Rows, run: Run) -> Rows:
    """The rows that a method of classes keeps, which is given the bins of values.

    Groups travel with rows, so places stand there to tell which they are.

    Raises:
        LTBenchError: it makes rows, of which nobody knows the value.
    """
    places = torch.arange(len(train), device=train.labels.device)
    told = Rows(train.inputs, run.granted.bins(train.labels), groups=places)
    kept = method.resample(told, run)
    if kept.groups is None:
        raise LTBenchError(
            f"{method.name} makes rows of a class, whose value nobody knows; take smoter, which "
            "makes values too"
        )
    return replace(kept, labels=train.labels[kept.groups], groups=None)


def refuse_classes(methods: Iterable[Method]) -> None:
    """Refuses, by name, a method that acts on scores of classes.

    Raises:
        Unmet: one does.
    """
    for method in methods:
        wrong = [name for name in hooks(type(method)) if name not in ON_BINS]
        if wrong and not of_values(method):
            raise Unmet(
                f"{method.name} overrides {wrong[0]}, which is for classes; rows of track "
                "regression have numbers"
            )
