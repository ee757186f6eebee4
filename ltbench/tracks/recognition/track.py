"""Recognition: train a network from scratch on an imbalanced set, score it on the test split."""

import copy
from collections.abc import Callable
from functools import partial

import torch

from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Answer, Asked, undivided
from ltbench.tracks.classification import (
    begin,
    refuse_foreign,
    refuse_needs,
    time_plain,
)
from ltbench.tracks.diagnostics import diagnosed
from ltbench.tracks.dividing import Given
from ltbench.tracks.learning import learned
from ltbench.tracks.one_label import divide
from ltbench.tracks.recognition.problem import Recognition
from ltbench.training.engine import answered

SUPPLIES = frozenset({"test_inputs"})


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
