"""Regression: train a network to tell a number, score it on a test split even over numbers."""

from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor

from ltbench.contract.context import Rows, Run
from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import (
    Answer,
    Arrays,
    Asked,
    Divided,
    Followed,
    Outcome,
    around,
    undivided,
)
from ltbench.datasets import Dataset
from ltbench.results.records import Record
from ltbench.tracks import classification
from ltbench.tracks.classification import (
    Parts,
    refuse_adapting,
    refuse_foreign,
    refuse_needs,
    seconds_of,
)
from ltbench.tracks.dividing import Given, asked
from ltbench.tracks.learning import learned
from ltbench.tracks.regression.contract import VALUES, ValueGrants, binned
from ltbench.tracks.regression.cutting import cut
from ltbench.tracks.regression.learning import Valued, refuse_classes
from ltbench.tracks.regression.problem import Numbers
from ltbench.tracks.regression.scores import scored
from ltbench.training.engine import answered

SUPPLIES = frozenset({VALUES})
ROUNDING = 1e-5  # of a measure, which is made of single precision


@dataclass(frozen=True)
class Scale:
    """What training rows say of values: their mean and deviation."""

    mean: float
    deviation: float

    def standardised(self, rows: Rows) -> Rows:
        return replace(rows, labels=((rows.labels - self.mean) / self.deviation).float())


def scale_of(values: Tensor) -> Scale:
    """The scale of training values [N]."""
    return Scale(float(values.mean()), float(values.std(correction=0)))


def begin(protocol: Numbers, parts: Parts, scale: Scale, seed: int, device: torch.device) -> Run:
    """A run at its start, whose network has one output; labels of its rows are standardised."""
    edges = protocol.values.edges.to(device)
    granted = ValueGrants(edges=edges, mean=scale.mean, deviation=scale.deviation)
    labels = granted.bins(parts.train.labels.to(device))
    of_bins = replace(parts, train=replace(parts.train, labels=labels))
    run = classification.begin(protocol, of_bins, seed, device, outputs=1)
    run.granted = granted
    return run


def time_plain(
    protocol: Numbers,
    parts: Parts,
    scale: Scale,
    seed: int,
    device: torch.device,
    steps: int | None = None,
) -> float:
    """The work of plain training for the whole budget, told from a stretch of `steps`."""

    def begins(protocol: Numbers, parts: Parts, seed: int, device: torch.device) -> Run:
        return begin(protocol, parts, scale, seed, device)

    return classification.time_plain(protocol, parts, seed, device, steps, begins, Valued(Method()))


def seconds(protocol: Numbers, dataset: Dataset, device: torch.device) -> float:
    """About what a cell of plain training takes here, measured for a moment."""
    given = divide(protocol, 0, dataset, frozenset()).given
    plain = partial(time_plain, protocol, given.parts, given.beside, 0, device)
    return seconds_of(plain, protocol, device)


def divide(protocol: Numbers, seed: int, dataset: Dataset, needs: Set[str]) -> Divided:
    """The data of a cell: rows with standardised values, what is asked, and values to mark with."""
    parts = cut(protocol, dataset, seed)
    values = protocol.values
    scale = scale_of(parts.train.labels)
    inputs = inputs_of(protocol, parts.train)

    @cache
    def paper() -> tuple[Asked, Tensor]:
        test = parts.test()
        bins = binned(test.labels, values.edges)
        return asked(Rows(inputs(test.inputs_at(torch.arange(len(test)))), bins), seed)

    def mark(answer: Answer) -> Outcome:
        told = parts.test().labels
        arrays: Arrays = {
            "values": told.float().numpy(),
            "said": answer.scores[paper()[1], 0].float().numpy(),
        }
        return Outcome(
            measures=of_arrays(protocol, parts.class_counts, arrays),
            timing=answer.timing,
            class_counts=parts.class_counts,
            arrays=arrays,
            notes=answer.notes,
            continued=answer.continued,
            stage=answer.stage,
        )

    def trained_on(rows: Rows) -> Rows:
        every = torch.arange(len(rows))
        return scale.standardised(Rows(inputs(rows.inputs_at(every)), rows.labels))

    aside = None if parts.validation is None else trained_on(parts.validation)
    given = Given(trained_on(parts.train), aside, parts.class_counts, values.bins, scale)
    return Divided(given, lambda: paper()[0], mark, classes=1)


def inputs_of(protocol: Numbers, train: Rows) -> Callable[[Tensor], Tensor]:
    """What is made of stored inputs: columns of a table are standardised by training rows."""
    if protocol.values.kind != "column":
        return lambda inputs: inputs
    mean, deviation = train.inputs.mean(dim=0), train.inputs.std(dim=0, correction=0)
    deviation = torch.where(deviation > 0, deviation, 1.0)
    return lambda inputs: (inputs - mean) / deviation


def answer(
    protocol: Numbers,
    recipe: Recipe,
    seed: int,
    given: Given,
    ask: Callable[[], Asked],
    device: torch.device,
) -> Answer:
    """Trains on what was given, then says the value of each test row, in the protocol's unit."""
    refuse_unmet(protocol, recipe)
    parts, scale = given.parts, given.beside
    begins = partial(begin, protocol, parts, scale, seed, device)
    plain = partial(time_plain, protocol, parts, scale, seed, device)
    valued = Valued(*recipe.methods)
    made = learned(protocol, valued, parts, begins, plain)

    inputs = ask().inputs.to(device)
    every = torch.arange(len(inputs), device=device)
    scores, predicted = answered(valued, made.model, inputs, every, made.run)
    scores = scores.double() * scale.deviation + scale.mean
    return made.answer(scores, predicted)


def of_arrays(protocol: Numbers, counts: list[int], arrays: Arrays) -> dict[str, float | None]:
    """Every measure of what is kept of a cell: values and what was said [N]."""
    values, said = (arrays[name].astype(np.float64) for name in ("values", "said"))
    bins = binned(torch.from_numpy(values), protocol.values.edges).numpy()
    return scored(values, said, bins, counts, protocol.scoring.shot_splits)


def measured(protocol: Numbers, record: Record, arrays: Arrays) -> Followed:
    """Every measure that follows from what a record keeps of its test rows."""
    found = of_arrays(protocol, record.class_counts, arrays)
    return {name: around(value, ROUNDING * abs(value or 0)) for name, value in found.items()}


def refuse_unmet(protocol: Numbers, recipe: Recipe) -> None:
    """Refuses, by name, what the track would pass over in silence.

    Raises:
        Unmet: a need is not met, or a method acts on another kind of model or target.
    """
    refuse_foreign(protocol, recipe)
    refuse_adapting(protocol, recipe)
    refuse_needs(protocol, recipe, SUPPLIES)
    refuse_classes(recipe.methods)


run = undivided(divide, answer)
