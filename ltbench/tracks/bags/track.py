"""Bags: train a network on bags of instances, tell the classes of test bags, mark its attention."""

from collections.abc import Callable, Set
from dataclasses import replace
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor, nn

from ltbench.contract.context import PREDICTED_AT_ONCE, Rows, Run
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
from ltbench.errors import LTBenchError, Unmet
from ltbench.results.records import Record
from ltbench.tracks import classification
from ltbench.tracks.bags.contract import BAGS, BagRecipe, unfit
from ltbench.tracks.bags.cutting import Cut, cut
from ltbench.tracks.bags.making import classes_of
from ltbench.tracks.bags.pooling import Pooled, pooled_in
from ltbench.tracks.bags.problem import Bags
from ltbench.tracks.bags.scores import attended, witnessed
from ltbench.tracks.classification import (
    EXACT,
    Parts,
    recalls_of,
    refuse_adapting,
    refuse_foreign,
    refuse_needs,
    score,
    seconds_of,
)
from ltbench.tracks.dividing import Given, asked
from ltbench.tracks.learning import learned
from ltbench.training.engine import answered

SUPPLIES = frozenset({BAGS})
ATTENDED = "attended"


def begin(protocol: Bags, parts: Parts, seed: int, device: torch.device) -> Run:
    """A run at its start, with the protocol's network of instances and the mean over these.

    Raises:
        LTBenchError: the network does not fit one instance.
    """
    bags = parts.train
    first = Rows(bags.inputs[:, 0], bags.labels)  # an instance a bag, as the network takes them
    run = classification.begin(protocol, replace(parts, train=first), seed, device)
    assert run.model is not None
    run.model = Pooled(run.model)
    return run


def of_protocol(protocol: Bags, *methods: Method) -> BagRecipe:
    """Methods as a protocol trains them."""
    return BagRecipe(*methods, adamw=protocol.optimizer == "adamw")


def divide(protocol: Bags, seed: int, dataset: Dataset, needs: Set[str] = frozenset()) -> Divided:
    """The data of a cell: bags to train on, test bags to be asked, and what to mark with."""
    return of_cut(protocol, seed, cut(protocol, dataset, seed), len(classes_of(protocol, dataset)))


def of_cut(protocol: Bags, seed: int, bags: Cut, classes: int) -> Divided:
    """The same of bags that are cut."""
    parts, borders = bags.parts, protocol.scoring.shot_splits
    test = cache(parts.test)
    paper = cache(lambda: asked(test(), seed))

    def mark(answer: Answer) -> Outcome:
        labels, place = test().labels, paper()[1]
        scored, predictions = score(
            protocol, parts, labels, answer.scores[place], answer.predicted[place]
        )
        arrays, witnesses = predictions.arrays(classes), bags.witnesses()
        weights = answer.arrays.get(ATTENDED)
        if weights is not None and witnesses is not None:
            refuse_unfit(weights, witnesses)
            share = attended(weights[place.numpy()], witnesses.numpy())
            arrays[ATTENDED] = share.astype(np.float32)
            scored |= witnessed(arrays[ATTENDED], labels.numpy(), parts.class_counts, borders)
        return Outcome(
            measures=scored,
            timing=answer.timing,
            recall=recalls_of(predictions.labels, predictions.predicted, classes),
            class_counts=parts.class_counts,
            arrays=arrays,
            notes=answer.notes,
            continued=answer.continued,
            stage=answer.stage,
        )

    given = Given(parts.train, parts.validation, parts.class_counts, classes)
    return Divided(given, lambda: paper()[0], mark, classes)


def answer(
    protocol: Bags,
    recipe: Recipe,
    seed: int,
    given: Given,
    ask: Callable[[], Asked],
    device: torch.device,
) -> Answer:
    """Trains on what was given, then says what test bags are, and where it looks."""
    refuse_unmet(protocol, recipe, given.classes)
    parts, of_bags = given.parts, of_protocol(protocol, *recipe.methods)
    begins = partial(begin, protocol, parts, seed, device)
    plain = partial(time_plain, protocol, parts, seed, device)
    made = learned(protocol, of_bags, parts, begins, plain)

    run, inputs = made.run, ask().inputs.to(device)
    every = torch.arange(len(inputs), device=device)
    scores, predicted = answered(of_bags, made.model, inputs, every, run)
    weights = attention(made.model, inputs, run)
    kept = {} if weights is None else {ATTENDED: weights.float().cpu().numpy()}
    return made.answer(scores, predicted, arrays=kept)


@torch.no_grad()
def attention(model: nn.Module, inputs: Tensor, run: Run) -> Tensor | None:
    """How much each instance of bags counts [N, L]; None where nothing in a network tells."""
    pooled = pooled_in(model)
    if pooled is None:
        return None
    parts = inputs.split(PREDICTED_AT_ONCE)
    return torch.cat([pooled.attention(run.plain(part)) for part in parts])


def refuse_unfit(weights: np.ndarray, witnesses: Tensor) -> None:
    """Refuses weights that are not numbers for each place of the test bags.

    Raises:
        LTBenchError: they are not.
    """
    if weights.shape != tuple(witnesses.shape) or not np.isfinite(weights).all():
        raise LTBenchError(
            f"weights {list(weights.shape)} of instances are no finite number for each of "
            f"{list(witnesses.shape)} places of test bags"
        )


def time_plain(
    protocol: Bags,
    parts: Parts,
    seed: int,
    device: torch.device,
    steps: int | None = None,
) -> float:
    """The work of plain training for the whole budget, told from a stretch of `steps`."""
    plain = of_protocol(protocol, Method())
    return classification.time_plain(protocol, parts, seed, device, steps, begin, plain)


def seconds(protocol: Bags, dataset: Dataset, device: torch.device) -> float:
    """About what a cell of plain training takes here, measured for a moment."""
    parts = cut(protocol, dataset, 0).parts
    return seconds_of(partial(time_plain, protocol, parts, 0, device), protocol, device)


def measured(
    protocol: Bags, record: Record, found: tuple[np.ndarray, np.ndarray], arrays: Arrays
) -> Followed:
    """Every measure that follows from what a record keeps of its test bags."""
    told = classification.measured(protocol, record, found, arrays)
    if ATTENDED not in arrays:
        return told
    of_witnesses = witnessed(
        arrays[ATTENDED], found[0], record.class_counts, protocol.scoring.shot_splits
    )
    return {**told, **{name: around(value, EXACT) for name, value in of_witnesses.items()}}


def refuse_unmet(protocol: Bags, recipe: Recipe, num_classes: int) -> None:
    """Refuses, by name, what the track would pass over in silence, and what makes bags.

    Raises:
        Unmet: a need is not met, or a method does not serve bags.
    """
    refuse_foreign(protocol, recipe)
    refuse_adapting(protocol, recipe)
    refuse_needs(protocol, recipe, SUPPLIES | ({"two_classes"} if num_classes == 2 else set()))
    for method in recipe.methods:
        reason = unfit(method)
        if reason is not None:
            raise Unmet(
                f"{method.name} {reason}; {protocol.name} takes methods that leave bags as they are"
            )


run = undivided(divide, answer)
