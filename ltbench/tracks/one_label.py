"""What tracks share whose rows have one label each, and are scored by it on a test split."""

import copy
from collections.abc import Set
from functools import cache

import torch
from torch import Tensor

from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Answer, Asked, Divided, Outcome
from ltbench.datasets import Dataset
from ltbench.protocols.schema import Classification
from ltbench.results.records import Scores
from ltbench.tracks import diagnostics
from ltbench.tracks.classification import Parts, Predictions, recalls_of, score, split
from ltbench.tracks.dividing import Given, asked
from ltbench.tracks.learning import Learned
from ltbench.training.engine import answered


def divide(
    protocol: Classification, seed: int, dataset: Dataset, needs: Set[str] = frozenset()
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


def said(
    protocol: Classification, recipe: Recipe, made: Learned, parts: Parts, test: Asked
) -> Answer:
    """What a trained network says of test rows, and what it says once it is adapted to them."""
    run, model = made.run, made.model
    device = run.device
    inputs, every = test.inputs.to(device), torch.arange(len(test.inputs), device=device)
    scores, predicted = answered(recipe, model, inputs, every, run)
    told = diagnostics.diagnosed(protocol, model, parts, inputs, run)
    adapted = None
    if recipe.adapts:
        # in an order that tells nothing of the labels
        used = recipe.adapt(copy.deepcopy(model), inputs[test.shuffled.to(device)], run)
        again = answered(recipe, used, inputs, every, run)
        adapted = again[0].double().cpu(), again[1].cpu()
    return made.answer(scores, predicted, adapted=adapted, told=told)
