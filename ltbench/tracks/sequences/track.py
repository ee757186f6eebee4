"""Sequences: train a network on those of an imbalanced set, score it on the test split."""

import copy
from collections.abc import Callable, Mapping, Set
from functools import cache, partial

import torch
from torch import Tensor

from ltbench.contract.context import Run
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Answer, Asked, Divided, Finder, Outcome, undivided
from ltbench.datasets import Dataset
from ltbench.results.records import Scores
from ltbench.tracks import classification, diagnostics
from ltbench.tracks.classification import (
    Parts,
    Predictions,
    recalls_of,
    refuse_foreign,
    refuse_needs,
    score,
    seconds_of,
    split,
    time_plain,
)
from ltbench.tracks.diagnostics import diagnosed
from ltbench.tracks.dividing import Given, asked
from ltbench.tracks.learning import learned
from ltbench.tracks.sequences.contract import PARTS, SequenceGrants
from ltbench.tracks.sequences.problem import Layout, Sequences
from ltbench.tracks.sequences.sources import Sources, laid_out
from ltbench.tracks.sequences.views import SequenceViews
from ltbench.training.engine import answered

SUPPLIES = frozenset({PARTS, "test_inputs"})


def load(registry: Finder, protocol: Sequences) -> dict[str, Dataset]:
    """The protocol's one data set, as sequences of the channels and steps that it states.

    Raises:
        LTBenchError: it cannot be had, or is not as declared.
    """
    (found,) = classification.load(Sources(registry), protocol).values()
    data = protocol.data
    return {"": laid_out(found, protocol.sequence, data.mean, data.source)}


def plan(protocol: Sequences, sources: Mapping[str, Dataset], device: torch.device) -> None:
    """Makes sure that cells can begin.

    Raises:
        LTBenchError: the protocol does not fit its data.
    """
    begin(protocol, split(protocol, sources[""], 0), 0, torch.device("cpu"))


def seconds(protocol: Sequences, dataset: Dataset, device: torch.device) -> float:
    """About what a cell of plain training takes here, measured for a moment."""
    parts = split(protocol, dataset, 0)
    plain = partial(time_plain, protocol, parts, 0, device, begins=begin)
    return seconds_of(plain, protocol, device)


def begin(protocol: Sequences, parts: Parts, seed: int, device: torch.device) -> Run:
    """A run at its start, with views of sequences and the parts of a row."""
    run = classification.begin(protocol, parts, seed, device)
    run.views = views_of(protocol)
    run.granted = SequenceGrants(parts=parts_of(protocol.sequence).to(device))
    return run


def views_of(protocol: Sequences) -> SequenceViews:
    """How rows reach the network: standardised, and moved where the protocol says so."""
    data, moved = protocol.data, protocol.views
    if moved is None:
        return SequenceViews(data.mean, data.std)
    return SequenceViews(
        data.mean, data.std, moved.shift, scaling=moved.scaling, jitter=moved.jitter
    )


def parts_of(layout: Layout) -> Tensor:
    """Of each part of a row which channels are in it, as 0 or 1 [P, C]; none where none is told."""
    within = [[name in part for name in layout.channels] for part in layout.parts]
    return torch.tensor(within, dtype=torch.bool).reshape(-1, len(layout.channels))


def divide(
    protocol: Sequences, seed: int, dataset: Dataset, needs: Set[str] = frozenset()
) -> Divided:
    """The data of a cell: rows to train on, test inputs to be asked, and labels to mark with."""
    parts = split(protocol, dataset, seed)
    test = cache(parts.test)
    paper = cache(lambda: asked(test(), seed))

    def mark(answer: Answer) -> Outcome:
        labels, place = test().labels, paper()[1]

        def marked(scores: Tensor, predicted: Tensor) -> tuple[Scores, Predictions]:
            return score(protocol, parts, labels, scores[place], predicted[place])

        scored, predictions = marked(answer.scores, answer.predicted)
        return Outcome(
            measures=scored | diagnostics.measured(protocol, answer.told),
            timing=answer.timing,
            transductive=marked(*answer.adapted)[0] if answer.adapted is not None else None,
            recall=recalls_of(predictions.labels, predictions.predicted, len(dataset.classes)),
            class_counts=parts.class_counts,
            arrays=predictions.arrays(len(parts.class_counts)),
            notes=answer.notes,
            continued=answer.continued,
            stage=answer.stage,
        )

    given = Given(parts.train, parts.validation, parts.class_counts, len(dataset.classes))
    return Divided(given, lambda: paper()[0], mark, given.classes)


def answer(
    protocol: Sequences,
    recipe: Recipe,
    seed: int,
    given: Given,
    ask: Callable[[], Asked],
    device: torch.device,
) -> Answer:
    """Trains on what was given, then says what test rows are."""
    refuse_unmet(protocol, recipe, given.classes)
    parts = given.parts
    begins = partial(begin, protocol, parts, seed, device)
    plain = partial(time_plain, protocol, parts, seed, device, begins=begin)
    made = learned(protocol, recipe, parts, begins, plain)
    run, model = made.run, made.model

    test = ask()
    inputs, every = test.inputs.to(device), torch.arange(len(test.inputs), device=device)
    scores, predicted = answered(recipe, model, inputs, every, run)
    told = diagnosed(protocol, model, parts, inputs, run)
    adapted = None
    if recipe.adapts:
        # in an order that tells nothing of the labels
        used = recipe.adapt(copy.deepcopy(model), inputs[test.shuffled.to(device)], run)
        again = answered(recipe, used, inputs, every, run)
        adapted = again[0].double().cpu(), again[1].cpu()
    return made.answer(scores, predicted, adapted=adapted, told=told)


def refuse_unmet(protocol: Sequences, recipe: Recipe, num_classes: int) -> None:
    """Refuses, by name, what the track would pass over in silence.

    Raises:
        Unmet: a need is not met, or a method acts on another kind of model.
    """
    refuse_foreign(protocol, recipe)
    supplied = SUPPLIES if protocol.sequence.parts else SUPPLIES - {PARTS}
    refuse_needs(protocol, recipe, supplied | ({"two_classes"} if num_classes == 2 else set()))


run = undivided(divide, answer)
