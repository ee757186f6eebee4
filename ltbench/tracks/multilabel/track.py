"""Multilabel: train a network on rows with several labels, rank the rows of each label by it."""

import math
from collections.abc import Callable, Set
from dataclasses import replace
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
from ltbench.errors import Unmet
from ltbench.results.records import Record
from ltbench.tracks import classification
from ltbench.tracks.classification import (
    EXACT,
    Parts,
    refuse_foreign,
    refuse_needs,
    seconds_of,
)
from ltbench.tracks.dividing import Given, asked
from ltbench.tracks.learning import learned
from ltbench.tracks.multilabel.contract import LABEL_SETS, LabelRecipe, granted, unfit
from ltbench.tracks.multilabel.cutting import cut, without_positives
from ltbench.tracks.multilabel.problem import MultiLabel
from ltbench.tracks.multilabel.scores import (
    Integers,
    Truths,
    ranks_of,
    recalls_of,
    scored,
)
from ltbench.training.engine import answered

SUPPLIES = frozenset({LABEL_SETS})


def begin(protocol: MultiLabel, parts: Parts, seed: int, device: torch.device) -> Run:
    """A run at its start; a row counts once for each of its labels."""
    labels = parts.train.labels
    positives = Rows(parts.train.inputs, labels.nonzero()[:, 1])
    run = classification.begin(protocol, replace(parts, train=positives), seed, device)
    run.granted = granted(labels.to(device))
    return run


def of_protocol(protocol: MultiLabel, *methods: Method) -> LabelRecipe:
    """Methods as a protocol trains them."""
    return LabelRecipe(*methods, adamw=protocol.optimizer == "adamw")


def divide(protocol: MultiLabel, seed: int, dataset: Dataset, needs: Set[str]) -> Divided:
    """The data of a cell: rows to train on, what is asked, and the labels to mark with."""
    return of_parts(protocol, seed, cut(protocol, dataset, seed), dataset.classes)


def of_parts(protocol: MultiLabel, seed: int, parts: Parts, classes: tuple[str, ...]) -> Divided:
    """The same of rows that are cut."""
    test = cache(parts.test)
    paper = cache(lambda: asked(test(), seed))

    def mark(answer: Answer) -> Outcome:
        labels = test().labels
        arrays = kept(labels, answer.scores[paper()[1]])
        out = [
            f"class {name} has no positive test row and is left out of all means"
            for name in without_positives(labels, classes)
        ]
        return Outcome(
            measures=scored(*found(arrays), parts.class_counts, protocol.scoring.shot_splits),
            timing=answer.timing,
            recall=recall_of(arrays),
            class_counts=parts.class_counts,
            arrays=arrays,
            notes=[*answer.notes, *out],
            continued=answer.continued,
            stage=answer.stage,
        )

    given = Given(parts.train, None, parts.class_counts, len(classes))
    return Divided(given, lambda: paper()[0], mark, len(classes))


def answer(
    protocol: MultiLabel,
    recipe: Recipe,
    seed: int,
    given: Given,
    ask: Callable[[], Asked],
    device: torch.device,
) -> Answer:
    """Trains on what was given, then scores each label of the test rows."""
    refuse_unmet(protocol, recipe)
    labelled = of_protocol(protocol, *recipe.methods)
    parts = given.parts
    begins = partial(begin, protocol, parts, seed, device)
    plain = partial(time_plain, protocol, parts, seed, device)
    made = learned(protocol, labelled, parts, begins, plain)

    inputs = ask().inputs.to(device)
    every = torch.arange(len(inputs), device=device)
    scores, likeliest = answered(labelled, made.model, inputs, every, made.run)
    return made.answer(scores, likeliest)


def time_plain(
    protocol: MultiLabel,
    parts: Parts,
    seed: int,
    device: torch.device,
    steps: int | None = None,
) -> float:
    """The work of plain training for the whole budget, told from a stretch of `steps`."""
    plain = of_protocol(protocol, Method())
    return classification.time_plain(protocol, parts, seed, device, steps, begin, plain)


def seconds(protocol: MultiLabel, dataset: Dataset, device: torch.device) -> float:
    """About what a cell of plain training takes here, measured for a moment."""
    parts = cut(protocol, dataset, 0)
    return seconds_of(partial(time_plain, protocol, parts, 0, device), protocol, device)


def kept(labels: Tensor, scores: Tensor) -> Arrays:
    """What a record keeps of test rows, each [N, C]: labels, ranks of scores, decided labels."""
    return {
        "labels": labels.numpy().astype(np.uint8),
        "ranks": ranks_of(scores.numpy()),
        "decided": (scores > 0).numpy().astype(np.uint8),
    }


def found(arrays: Arrays) -> tuple[Truths, Integers, Truths]:
    """What a record keeps, as measures take it."""
    return arrays["labels"].astype(bool), arrays["ranks"], arrays["decided"].astype(bool)


def recall_of(arrays: Arrays) -> list[float | None]:
    """The recall of each label; None where no test row has it."""
    labels, _, decided = found(arrays)
    return [None if math.isnan(one) else float(one) for one in recalls_of(labels, decided)]


def measured(protocol: MultiLabel, record: Record, arrays: Arrays) -> Followed:
    """Every measure, which follows from what a record keeps of its test rows."""
    told = scored(*found(arrays), record.class_counts, protocol.scoring.shot_splits)
    told |= {f"recall {c}": one for c, one in enumerate(recall_of(arrays))}
    return {name: around(value, EXACT) for name, value in told.items()}


def refuse_unmet(protocol: MultiLabel, recipe: Recipe) -> None:
    """Refuses what would be passed over in silence, or mistake labels [N, C] for classes [N].

    Raises:
        Unmet: a need is not met, or a hook does not serve several labels a row.
    """
    refuse_foreign(protocol, recipe)
    refuse_needs(protocol, recipe, SUPPLIES)
    for method in recipe.methods:
        hook = unfit(method)
        if hook is not None:
            raise Unmet(
                f"{method.name} overrides {hook}, which serves one class a row; rows of "
                f"{protocol.name} have several labels"
            )


run = undivided(divide, answer)
