"""Recognition: train a network from scratch on an imbalanced set, score it on the test split."""

import copy
from collections.abc import Callable, Set
from functools import cache, partial

import torch
from torch import Tensor

from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Answer, Asked, Divided, Outcome, undivided
from ltbench.datasets import Dataset
from ltbench.results.records import Scores
from ltbench.tracks import diagnostics
from ltbench.tracks.classification import (
    Predictions,
    begin,
    recalls_of,
    refuse_foreign,
    refuse_needs,
    score,
    split,
    time_plain,
)
from ltbench.tracks.diagnostics import diagnosed
from ltbench.tracks.dividing import Given, asked
from ltbench.tracks.learning import learned
from ltbench.tracks.recognition.problem import Recognition
from ltbench.training.engine import answered

SUPPLIES = frozenset({"test_inputs"})


def divide(
    protocol: Recognition, seed: int, dataset: Dataset, needs: Set[str] = frozenset()
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
    protocol: Recognition,
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
    plain = partial(time_plain, protocol, parts, seed, device)
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


def refuse_unmet(protocol: Recognition, recipe: Recipe, num_classes: int) -> None:
    """Refuses, by name, what the track would pass over in silence.

    Raises:
        Unmet: a need is not met, or a method acts on another kind of model.
    """
    refuse_foreign(protocol, recipe)
    supplied = SUPPLIES | ({"two_classes"} if num_classes == 2 else set())
    refuse_needs(protocol, recipe, supplied)


run = undivided(divide, answer)
