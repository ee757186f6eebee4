"""The checks of a method that acts on pre-trained networks; none knows a formula."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from msgspec import structs
from torch import nn

from ltbench.contract.context import Rows
from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Check
from ltbench.datasets import Dataset, digits, duplicates
from ltbench.models.mlp import Network, Options
from ltbench.testing.checks import shared
from ltbench.testing.report import expect, named
from ltbench.testing.task import (
    OF_NETWORKS,
    SHAPE,
    Spy,
    Task,
    Trained,
    counts_for,
    expect_unseen,
)
from ltbench.tracks.finetuning.contract import FinetuningGrants, Tuning
from ltbench.tracks.finetuning.problem import Finetuning, Upstream
from ltbench.tracks.finetuning.track import SUPPLIES, run
from ltbench.tracks.kept_networks import digest
from ltbench.tracks.marked import expect_deaf, fields, marked

NEEDS = SUPPLIES | {"two_classes"}
MODELS = 2
UPSTREAM_ROWS = 4  # of the largest class of an upstream model
CPU = torch.device("cpu")


def checks(recipe: Recipe) -> Mapping[str, Check]:
    """The checks of a recipe of networks that tunes; none of any other."""
    of_networks = all("network" in method.models for method in recipe.methods)
    if not of_networks or recipe.all_needs - NEEDS or not recipe.all_needs & SUPPLIES:
        return {}
    own = (held_out_rows_stay_out, upstream_models_stay_as_they_are)
    return {**shared(Task(trained)), **named(own)}


def networks(classes: int) -> tuple[nn.Module, ...]:
    """Small networks that stand for pre-trained ones."""
    made = []
    for k in range(MODELS):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(k)
            made.append(Network(SHAPE, classes, Options([16, 8], batch_norm=True)))
    return tuple(made)


def trained(
    method: Method, counts: Sequence[int], rows: Rows | None = None, **options: Any
) -> Trained:
    """What a short training makes of a method that goes on from small networks."""
    tuning = Tuning(*getattr(method, "methods", (method,)))
    granted = options.pop("granted", None) or FinetuningGrants(networks=networks(len(counts)))
    return OF_NETWORKS.trained(tuning, counts, rows, granted=granted, **options)


def held_out_rows_stay_out(method: Recipe) -> None:
    """No row of the test split and none of upstream models may reach a hook."""
    protocol, dataset = marked(min(3, len(counts_for(method))), small)
    spy = Spy()
    run(protocol, Recipe(spy, *method.methods), 0, dataset, CPU)
    expect_unseen(spy)


def upstream_models_stay_as_they_are(method: Recipe) -> None:
    """A method must work on copies of what it is granted."""
    counts = counts_for(method)
    granted = FinetuningGrants(networks=networks(len(counts)))
    before = [digest(network) for network in granted.networks]
    trained(copy.deepcopy(method), counts, granted=granted)
    expect(
        before == [digest(network) for network in granted.networks],
        "expected pre-trained networks as they were, but one changed; build on what tune is given, "
        "or on a copy (copy.deepcopy)",
    )


def small(dataset: Dataset) -> Finetuning:
    """A small protocol over a source without a test split of its own."""
    keys = fields(dataset)
    data = structs.replace(keys["data"], validation_share=None)
    counts = [8, 4, 4][: len(dataset.classes)]
    imbalance = structs.replace(keys["imbalance"], counts=counts)
    upstream = Upstream(MODELS, "different", UPSTREAM_ROWS, 2.0, keys["budget"])
    return Finetuning(**{**keys, "data": data, "imbalance": imbalance}, upstream=upstream)


def learning(dataset: Dataset) -> Finetuning:
    """A protocol whose networks learn enough to give rows different classes."""
    keys = fields(dataset)
    budget = structs.replace(keys["budget"], epochs=20)
    return Finetuning(
        **{**keys, "budget": budget},
        upstream=Upstream(MODELS, "different", UPSTREAM_ROWS, 2.0, budget),
    )


def with_others(dataset: Dataset) -> Dataset:
    """The same data, behind whose rows stand as many of each class as upstream models take.

    They are digits that stand nowhere else in the data.
    """
    whole = digits.load().of_classes(dataset.classes)
    parts = [dataset.train] if dataset.test is None else [dataset.train, dataset.test]
    held = {key for part in parts for key in duplicates.keys_of(part)}
    apart = torch.tensor([key not in held for key in duplicates.keys_of(whole.train)])
    labels = whole.train.labels
    index = [
        (apart & (labels == c)).nonzero()[:UPSTREAM_ROWS, 0] for c in range(len(dataset.classes))
    ]
    others, train = whole.train[torch.cat(index)], dataset.train
    inputs = train.inputs_at(torch.arange(len(train)))
    joined = Rows(torch.cat([inputs, others.inputs]), torch.cat([train.labels, others.labels]))
    return Dataset(joined, dataset.classes, dataset.test)


def decoys_change_nothing(method: Recipe) -> None:
    """A cell of digits must decide alike where the labels of test rows are false."""
    expect_deaf(method, learning, run, with_others)


THOROUGH = named((decoys_change_nothing,))
