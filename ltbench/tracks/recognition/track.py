"""Recognition: train a network from scratch on an imbalanced set, score it on the test split."""

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
from ltbench.tracks.dividing import Given
from ltbench.tracks.learning import learned
from ltbench.tracks.one_label import divide, said
from ltbench.tracks.recognition.problem import Recognition

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
    return said(protocol, recipe, made, parts, ask())


def refuse_unmet(protocol: Recognition, recipe: Recipe, num_classes: int) -> None:
    """Refuses, by name, what the track would pass over in silence.

    Raises:
        Unmet: a need is not met, or a method acts on another kind of model.
    """
    refuse_foreign(protocol, recipe)
    supplied = SUPPLIES | ({"two_classes"} if num_classes == 2 else set())
    refuse_needs(protocol, recipe, supplied)


run = undivided(divide, answer)
