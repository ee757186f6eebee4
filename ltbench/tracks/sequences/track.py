"""Sequences: train a network on those of an imbalanced set, score it on the test split."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from ltbench.contract.context import Run
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Answer, Asked, Finder, undivided
from ltbench.datasets import Dataset
from ltbench.tracks import classification
from ltbench.tracks.classification import (
    Parts,
    refuse_foreign,
    refuse_needs,
    seconds_of,
    split,
    time_plain,
)
from ltbench.tracks.dividing import Given
from ltbench.tracks.learning import learned
from ltbench.tracks.one_label import divide, said
from ltbench.tracks.sequences.contract import PARTS, SequenceGrants
from ltbench.tracks.sequences.problem import Layout, Sequences
from ltbench.tracks.sequences.sources import Sources, laid_out
from ltbench.tracks.sequences.views import SequenceViews

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
    return said(protocol, recipe, made, parts, ask())


def refuse_unmet(protocol: Sequences, recipe: Recipe, num_classes: int) -> None:
    """Refuses, by name, what the track would pass over in silence.

    Raises:
        Unmet: a need is not met, or a method acts on another kind of model.
    """
    refuse_foreign(protocol, recipe)
    supplied = SUPPLIES if protocol.sequence.parts else SUPPLIES - {PARTS}
    refuse_needs(protocol, recipe, supplied | ({"two_classes"} if num_classes == 2 else set()))


run = undivided(divide, answer)
