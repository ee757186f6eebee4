"""The checks of a method that trains a network to tell classes apart."""

from collections.abc import Mapping

import torch
from msgspec import structs

from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Check
from ltbench.datasets import Dataset
from ltbench.testing.checks import shared
from ltbench.testing.report import named
from ltbench.testing.task import OF_NETWORKS, Spy, counts_for, expect_unseen
from ltbench.tracks.marked import expect_deaf, fields, marked
from ltbench.tracks.recognition.problem import Recognition
from ltbench.tracks.recognition.track import SUPPLIES, run

NEEDS = SUPPLIES | {"two_classes", "ordered"}


def checks(recipe: Recipe) -> Mapping[str, Check]:
    """The checks of a recipe of networks; none where it needs what recognition does not supply."""
    of_networks = all("network" in method.models for method in recipe.methods)
    if not of_networks or recipe.all_needs - NEEDS:
        return {}
    return {**shared(OF_NETWORKS), "held out rows stay out": held_out_rows_stay_out}


def held_out_rows_stay_out(method: Recipe) -> None:
    protocol, dataset = marked(min(3, len(counts_for(method))), small)
    spy = Spy()
    run(protocol, Recipe(*method.methods, spy), 0, dataset, torch.device("cpu"))
    expect_unseen(spy)


def small(dataset: Dataset) -> Recognition:
    return Recognition(**fields(dataset))


def learning(dataset: Dataset) -> Recognition:
    """A protocol whose networks learn enough to give rows different classes."""
    protocol = small(dataset)
    return structs.replace(protocol, budget=structs.replace(protocol.budget, epochs=20))


def decoys_change_nothing(method: Recipe) -> None:
    expect_deaf(method, learning, run)


THOROUGH = named((decoys_change_nothing,))
