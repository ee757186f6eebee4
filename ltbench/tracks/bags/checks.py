"""The checks of a method that says how bags are treated; none knows a formula."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from msgspec import structs
from torch import Tensor, nn

from ltbench.contract.context import Rows, Run
from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Check
from ltbench.datasets import Dataset
from ltbench.testing.checks import shared
from ltbench.testing.report import NotApplicable, expect, named
from ltbench.testing.task import COUNTS, OF_NETWORKS, MarkedTask, Spy, Task, Trained, rows_of
from ltbench.tracks.bags.contract import BAGS, BagRecipe
from ltbench.tracks.bags.cutting import Cut, cut
from ltbench.tracks.bags.pooling import Pooled, filled_in, pooled_in
from ltbench.tracks.bags.problem import Bags, Planted
from ltbench.tracks.bags.track import SUPPLIES, answer, of_cut, run
from ltbench.tracks.marked import fields

CPU = torch.device("cpu")
PLACES = 4  # of a small bag, of which every other one has three instances


def checks(recipe: Recipe) -> Mapping[str, Check]:
    """The checks of a recipe of networks that says how bags are treated; none of any other."""
    of_networks = all("network" in method.models for method in recipe.methods)
    if not of_networks or BAGS not in recipe.all_needs or recipe.all_needs - SUPPLIES:
        return {}
    own = (
        order_of_instances_does_not_matter,
        padding_does_not_matter,
        one_instance_is_the_network_of_instances,
        padding_gets_no_attention,
        test_bags_stay_out,
        test_labels_change_nothing,
    )
    return {**shared(Task(trained)), **named(own)}


class Small(BagRecipe):
    """A recipe whose training begins with the small network of the shared task."""

    def build(self, model: nn.Module, run: Run) -> nn.Module:
        return super().build(Pooled(model), run)


def trained(
    method: Method, counts: Sequence[int], rows: Rows | None = None, **options: Any
) -> Trained:
    """What a short training on bags makes of a method; those to test on have one instance."""
    rows = rows_of(counts) if rows is None else rows
    small = Small(*copy.deepcopy(getattr(method, "methods", (method,))))
    return OF_NETWORKS.trained(small, counts, Rows(bags_of(rows.inputs), rows.labels), **options)


def bags_of(images: Tensor) -> Tensor:
    """Bags [N, 4, 8, 8] with one of the images [N, 1, 8, 8] each, noise, and places left empty."""
    chance = torch.Generator().manual_seed(3)
    bags = 0.5 * torch.randn(len(images), PLACES, *images.shape[2:], generator=chance)
    places = torch.randint(PLACES - 1, (len(images),), generator=chance)
    bags[torch.arange(len(images)), places] = images[:, 0]
    bags[::2, -1] = torch.nan
    return bags.to(images)


def expect_same_scores(method: Recipe, change: Any, what: str) -> None:
    """Bags that a change leaves what they are must have the same scores."""
    predict, bags = trained(method, COUNTS).predict, bags_of(rows_of([4, 4, 4, 4], seed=5).inputs)
    plain, changed = predict(bags)[0], predict(change(bags))[0]
    expect(
        torch.allclose(plain, changed, rtol=1e-4, atol=1e-4),
        f"expected the same scores {what}, but they differ by up to "
        f"{(plain - changed).abs().max():.2g}; treat the instances of a bag alike, and those alone "
        "that are there",
    )


def order_of_instances_does_not_matter(method: Recipe) -> None:
    expect_same_scores(method, lambda bags: bags.flip(1), "in another order of instances")


def padding_does_not_matter(method: Recipe) -> None:
    expect_same_scores(
        method,
        lambda bags: torch.cat([bags, torch.full_like(bags[:, :2], torch.nan)], dim=1),
        "with more empty places",
    )


def one_instance_is_the_network_of_instances(method: Recipe) -> None:
    model = trained(method, COUNTS).model
    if not isinstance(model, Pooled):
        raise NotApplicable("it puts a network of its own around that of instances")
    images = rows_of([4, 4, 4, 4], seed=5).inputs
    alone, each = model.features(images), model.instances.features(images)  # type: ignore[operator]
    expect(
        torch.allclose(alone, each, rtol=1e-4, atol=1e-5),
        "expected a bag of one instance to have the features of that, but they differ by up to "
        f"{(alone - each).abs().max():.2g}; the weights of instances sum to 1",
    )


def padding_gets_no_attention(method: Recipe) -> None:
    pooled = pooled_in(trained(method, COUNTS).model)
    if pooled is None:
        raise NotApplicable("its pool has no weights of instances")
    bags = bags_of(rows_of([4, 4, 4, 4], seed=5).inputs)
    weights, there = pooled.attention(bags), filled_in(bags)
    expect(
        not weights[~there].any() and torch.allclose(weights.sum(dim=1), torch.ones(len(bags))),
        f"expected weights of 0 where there is no instance, and a sum of 1, but saw up to "
        f"{weights[~there].abs().max():.2g} there, and sums from {weights.sum(dim=1).min():.4g} to "
        f"{weights.sum(dim=1).max():.4g}",
    )


class Watching(Spy):
    """Looks for marks in what hooks are given."""

    needs = frozenset({BAGS})


def small(dataset: Dataset) -> Bags:
    """A small protocol of bags, over a source with a test split of its own."""
    keys = fields(dataset)
    data = type(keys["data"])("check", dataset.fingerprint)
    first, second, *others = dataset.classes
    imbalance = structs.replace(keys["imbalance"], counts=[12, 6])
    planted = Planted((first, second), tuple(others), length=3, test=4)
    return Bags(**{**keys, "data": data, "imbalance": imbalance}, planted=planted)


def test_bags_stay_out(method: Recipe) -> None:
    """No image of a bag to test on may reach a hook."""
    task = MarkedTask(Watching())
    run(small(task.dataset), task.beside(method), 0, task.dataset, CPU)
    task.expect_unseen()


def test_labels_change_nothing(method: Recipe) -> None:
    """A cell must answer alike whatever the labels of the bags to test on are."""
    dataset, said = MarkedTask().dataset, []
    protocol = small(dataset)
    bags = cut(protocol, dataset, 0)
    tested = bags.parts.test()
    for test in (tested, replace(tested, labels=1 - tested.labels)):
        parts = replace(bags.parts, test=partial(_same, test))
        divided = of_cut(protocol, 0, Cut(parts, bags.witnesses), 2)
        recipe = copy.deepcopy(method)
        said.append(answer(protocol, recipe, 0, divided.given, divided.ask, CPU).scores)
    expect(
        torch.equal(*said),
        "expected the same bits whatever is told of test bags, but scores differ by up to "
        f"{(said[0] - said[1]).abs().max():.2g}",
    )


def _same(given: Any) -> Any:
    return given
