"""The checks of a method that learns from a pool; none knows a formula."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from msgspec import structs

from ltbench.contract.context import Rows, Run
from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Answer, Check
from ltbench.datasets import Dataset, digits, duplicates
from ltbench.testing.checks import shared
from ltbench.testing.report import NotApplicable, expect, named
from ltbench.testing.task import (
    OF_NETWORKS,
    Spy,
    Task,
    Trained,
    counts_for,
    expect_unseen,
    rows_of,
)
from ltbench.tracks.marked import expect_deaf, fields, marked
from ltbench.tracks.semi.contract import POOL_LABELS, SemiGrants
from ltbench.tracks.semi.cutting import Cut, Source, cut
from ltbench.tracks.semi.learning import Pooled
from ltbench.tracks.semi.problem import Pool, Semi
from ltbench.tracks.semi.track import SUPPLIES, answer, of_cut, run

NEEDS = SUPPLIES | {"two_classes"}
POOL = (9, 7, 5, 4)  # rows of each class of the small task
POOLED = 60  # rows of the pool beside a cell of digits
CPU = torch.device("cpu")


def checks(recipe: Recipe) -> Mapping[str, Check]:
    """The checks of a recipe of networks that uses the pool; none of any other."""
    of_networks = all("network" in method.models for method in recipe.methods)
    if not of_networks or recipe.all_needs - NEEDS or not recipe.all_needs & SUPPLIES:
        return {}
    own = (test_rows_stay_out, withheld_labels_change_nothing)
    return {**shared(Task(trained)), **named(own)}


def trained(
    method: Method, counts: Sequence[int], rows: Rows | None = None, **options: Any
) -> Trained:
    """What a short training with a pool makes of a method."""
    pool = rows_of([POOL[c % len(POOL)] for c in range(len(counts))], seed=2)
    pooled = Pooled(*getattr(method, "methods", (method,)))
    labels = pool.labels if POOL_LABELS in pooled.all_needs else None
    granted = SemiGrants(pool=pool.inputs, ratio=1.0, view="affine", labels=labels)
    return OF_NETWORKS.trained(pooled, counts, rows, granted=granted, **options)


class Watching(Spy):
    """Looks for marks in what hooks are given, and in the pool."""

    name = "spy"

    def enter(self, train: Rows, run: Run) -> Rows:
        self.look("the pool", run.granted.pool)
        return super().enter(train, run)


def test_rows_stay_out(method: Recipe) -> None:
    """No row of the test split may reach a hook, or stand in the pool."""
    protocol, dataset = apart(method)
    spy = Watching()
    run(protocol, Recipe(spy, *method.methods), 0, dataset, CPU)
    expect_unseen(spy)


def apart(method: Recipe) -> tuple[Semi, Dataset]:
    """A small protocol, and its data with a mark in every test row."""
    return marked(min(3, len(counts_for(method))), small, tested_alone=True)


def withheld_labels_change_nothing(method: Recipe) -> None:
    """A cell must answer alike whatever the labels of its pool are."""
    if POOL_LABELS in method.all_needs:
        raise NotApplicable("it is a bound, which is told the labels of the pool")
    protocol, dataset = apart(method)
    rows = cut(protocol, dataset, 0)
    first = answered(protocol, copy.deepcopy(method), rows, dataset)
    labels = torch.full_like(rows.pool.labels, len(dataset.classes) - 1)
    false = Cut(rows.parts, Rows(rows.pool.inputs, labels))
    second = answered(protocol, copy.deepcopy(method), false, dataset)
    expect(
        torch.equal(first.scores, second.scores),
        "expected the same bits whatever the labels of the pool are, but scores differ by up to "
        f"{(first.scores - second.scores).abs().max():.2g}; labels of the pool are withheld",
    )


def answered(protocol: Semi, method: Recipe, rows: Cut, dataset: Dataset) -> Answer:
    """What a cell of rows that are cut says of what it is asked."""
    parts = of_cut(protocol, 0, rows, method.all_needs, len(dataset.classes))
    return answer(protocol, method, 0, parts.given, parts.ask, CPU)


def small(dataset: Dataset) -> Semi:
    """A small protocol over a source without a test split of its own."""
    keys = fields(dataset)
    data = structs.replace(keys["data"], validation_share=None)
    imbalance = structs.replace(keys["imbalance"], counts=[8, 4, 4][: len(dataset.classes)])
    pool = Pool(profile="consistent", ratio=1.0, strong="affine", n_max=6, factor=3.0)
    return Semi(**{**keys, "data": data, "imbalance": imbalance}, pool=pool)


def learning(dataset: Dataset) -> Semi:
    """A protocol whose networks learn enough to give rows different classes, over a pool that the
    data have apart."""
    keys = fields(dataset)
    keys["budget"] = structs.replace(keys["budget"], epochs=20)
    pool = Pool("source", ratio=1.0, strong="affine", source="check", fingerprint="any")
    return Semi(**keys, pool=pool)


def with_pool(dataset: Dataset) -> Source:
    """The same data with a pool of digits that stand nowhere else in them."""
    whole = digits.load().of_classes(dataset.classes)
    parts = [dataset.train] if dataset.test is None else [dataset.train, dataset.test]
    held = {key for part in parts for key in duplicates.keys_of(part)}
    apart = [key not in held for key in duplicates.keys_of(whole.train)]
    others = whole.train[torch.tensor(apart).nonzero()[:POOLED, 0]]
    return Source(dataset.train, dataset.classes, dataset.test, others=others)


def decoys_change_nothing(method: Recipe) -> None:
    """A cell of digits must decide alike where the labels of test rows are false."""
    expect_deaf(method, learning, run, with_pool)


THOROUGH = named((decoys_change_nothing,))
