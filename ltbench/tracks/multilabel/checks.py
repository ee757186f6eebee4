"""The checks of a method that takes several labels a row; none knows a formula."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ltbench.contract.context import Batch, Output, Phase, Rows, Run
from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Check
from ltbench.datasets import Dataset
from ltbench.models.mlp import Network, Options
from ltbench.testing.checks import expect_decided_alone, shared
from ltbench.testing.report import expect, named
from ltbench.testing.task import (
    BATCH,
    COUNTS,
    OF_NETWORKS,
    SHAPE,
    MarkedTask,
    Spy,
    Task,
    Trained,
    rows_of,
    statistics_watched,
)
from ltbench.tracks.marked import fields
from ltbench.tracks.multilabel.contract import LABEL_SETS, LabelRecipe, granted
from ltbench.tracks.multilabel.cutting import cut
from ltbench.tracks.multilabel.problem import MultiLabel, Scenes
from ltbench.tracks.multilabel.track import SUPPLIES, answer, of_parts, run
from ltbench.training.engine import objective

CPU = torch.device("cpu")
OF_ONE_CLASS = (
    "class names do not matter",
    "frozen parts stay",
    "rows are decided alone",
    "shapes and kinds are kept",
    "statistics move once a step",
)
"""Shared checks that call hooks with one class a row; those below have their place."""


def checks(recipe: Recipe) -> Mapping[str, Check]:
    """The checks of a recipe of networks that takes several labels a row; none of any other."""
    of_networks = all("network" in method.models for method in recipe.methods)
    if not of_networks or LABEL_SETS not in recipe.all_needs or recipe.all_needs - SUPPLIES:
        return {}
    own = (
        label_names_do_not_matter,
        shapes_are_kept,
        rows_are_scored_alone,
        statistics_move_once_a_step,
        labels_stay_as_they_are,
        test_rows_stay_out,
        test_labels_change_nothing,
    )
    of_all = shared(Task(trained))
    return {**{n: one for n, one in of_all.items() if n not in OF_ONE_CLASS}, **named(own)}


def trained(
    method: Method, counts: Sequence[int], rows: Rows | None = None, **options: Any
) -> Trained:
    """What a short training makes of a method, where every other row has a second label."""
    rows = rows_of(counts) if rows is None else rows
    rows = replace(rows, labels=in_pairs(rows.labels, len(counts)))
    recipe = LabelRecipe(*copy.deepcopy(getattr(method, "methods", (method,))))
    positives = rows.labels.sum(dim=0).tolist()
    return OF_NETWORKS.trained(recipe, positives, rows, granted=granted(rows.labels), **options)


def in_pairs(labels: Tensor, classes: int) -> Tensor:
    """Labels [N, C] of classes [N]; every other row has the next class beside its own.

    A class without rows stays without.
    """
    sets = nn.functional.one_hot(labels, classes).float()
    there = sets.any(dim=0)
    sets[::2] = torch.maximum(sets, sets.roll(1, dims=1) * there)[::2]
    return sets


def started(counts: Tensor, labels: Tensor, model: nn.Module | None = None) -> Run:
    """A run at the end of its phase."""
    phase = Phase("main", epochs=4, lr=0.1, weight_decay=0.0)
    given = Run(counts, counts / counts.sum(), torch.ones((), dtype=counts.dtype), phase)
    given.granted, given.model = granted(labels), model
    return given


def label_names_do_not_matter(method: Recipe) -> None:
    chance = torch.Generator().manual_seed(0)
    order = torch.tensor([2, 0, 3, 1])
    scores = torch.randn(12, 4, generator=chance, dtype=torch.float64)
    labels = in_pairs(torch.arange(12) % 4, 4).double()
    every = in_pairs(torch.arange(4).repeat_interleave(torch.tensor([40, 20, 5, 2])), 4).double()
    plain = _loss_and_slope(method, scores, labels, every, torch.arange(4))
    renamed = _loss_and_slope(method, scores[:, order], labels[:, order], every[:, order], order)
    expect(
        torch.allclose(plain[0], renamed[0]) and torch.allclose(plain[1][:, order], renamed[1]),
        f"expected the same loss and slopes under other label names, but saw {plain[0]:.6g} and "
        f"{renamed[0]:.6g}; a label's number must not count",
    )


def _loss_and_slope(
    method: Recipe, scores: Tensor, labels: Tensor, every: Tensor, names: Tensor
) -> tuple[Tensor, Tensor]:
    """The loss of a batch and its slope in the scores [N, C], of a model whose parameters by class
    follow `names` [C]."""
    recipe = LabelRecipe(*copy.deepcopy(method.methods))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Network(SHAPE, len(names), Options([16])).double()
        run = started(every.sum(dim=0), every, model)
        run.model = recipe.build(model, run).double()
    for parameter in run.model.parameters():
        if len(parameter) == len(names):
            parameter.data = parameter.data[names]
    recipe.prepare(run)
    scores = scores.clone().requires_grad_()
    features = torch.randn(len(labels), 16, generator=torch.Generator().manual_seed(1)).double()
    batch = Batch(features, [(labels, 1.0)], torch.arange(len(labels)))
    loss = objective(recipe, Output((scores,), features), batch, run)
    loss.backward()
    assert scores.grad is not None
    return loss.detach(), scores.grad


def shapes_are_kept(method: Recipe) -> None:
    recipe = LabelRecipe(*copy.deepcopy(method.methods))
    for dtype in (torch.float32, torch.float64):
        labels = in_pairs(torch.arange(8) % 4, 4).to(dtype)
        run = started(labels.sum(dim=0), labels)
        recipe.prepare(run)
        scores = torch.randn(8, 4, generator=run.rng).to(dtype)
        losses = recipe.label_losses(recipe.adjust(scores, labels, run), labels, run)
        weight = recipe.label_weight(labels, run)
        found = losses if weight is None else weight * losses
        expect(
            (found.shape, found.dtype) == (labels.shape, dtype),
            f"expected weighed losses {dtype} {list(labels.shape)}, but saw {found.dtype} "
            f"{list(found.shape)}",
        )


def rows_are_scored_alone(method: Recipe) -> None:
    expect_decided_alone(trained(method, COUNTS).predict)


def statistics_move_once_a_step(method: Recipe) -> None:
    steps = 3 * math.ceil(sum(COUNTS) / BATCH)
    with statistics_watched() as moved:
        trained(method, COUNTS)
    expect(
        set(moved.values()) == {steps},
        f"expected BatchNorm statistics to move once in each of {steps} steps, but they moved "
        f"{sorted(moved.values())} times; a second pass belongs in the closure",
    )


def labels_stay_as_they_are(method: Recipe) -> None:
    """Scores and labels that hooks are given are others' too."""
    recipe = LabelRecipe(*copy.deepcopy(method.methods))
    labels = in_pairs(torch.arange(8) % 4, 4)
    run = started(labels.sum(dim=0), labels)
    recipe.prepare(run)
    scores = torch.randn(8, 4, generator=run.rng)
    before = scores.clone(), labels.clone()
    recipe.criterion(recipe.adjust(scores, labels, run), labels, run)
    expect(
        torch.equal(scores, before[0]) and torch.equal(labels, before[1]),
        "expected scores and labels as they were, but they changed; work on a copy",
    )


class Watching(Spy):
    """Looks for marks in what hooks are given."""

    needs = frozenset({LABEL_SETS})


def small(dataset: Dataset) -> MultiLabel:
    """A small protocol of scenes, over a source with a test split of its own."""
    keys = fields(dataset)
    data = type(keys["data"])("check", dataset.fingerprint)
    scenes = Scenes(further=(0.5, 0.5), test=8)
    return MultiLabel(**{**keys, "data": data}, scenes=scenes)


def test_rows_stay_out(method: Recipe) -> None:
    """No image of a test scene may reach a hook."""
    task = MarkedTask(Watching())
    run(small(task.dataset), task.beside(method), 0, task.dataset, CPU)
    task.expect_unseen()


def test_labels_change_nothing(method: Recipe) -> None:
    """A cell must answer alike whatever the labels of its test rows are."""
    dataset = MarkedTask().dataset
    protocol = small(dataset)
    parts, said = cut(protocol, dataset, 0), []
    for test in (parts.test(), replace(parts.test(), labels=1 - parts.test().labels)):
        own = replace(parts, test=partial(_same, test))
        divided = of_parts(protocol, 0, own, dataset.classes)
        recipe = copy.deepcopy(method)
        said.append(answer(protocol, recipe, 0, divided.given, divided.ask, CPU).scores)
    expect(
        torch.equal(*said),
        "expected the same bits whatever the labels of test rows are, but scores differ by up to "
        f"{(said[0] - said[1]).abs().max():.2g}",
    )


def _same(rows: Rows) -> Rows:
    return rows
