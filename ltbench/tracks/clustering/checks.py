"""The checks of a method that puts rows into clusters; none knows a formula."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from msgspec import structs
from torch import Tensor

from ltbench.contract.context import Rows, Run
from ltbench.contract.method import Method, hooks
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Answer, Check
from ltbench.datasets import Dataset
from ltbench.testing.checks import shared
from ltbench.testing.report import expect, named
from ltbench.testing.task import (
    OF_NETWORKS,
    Spy,
    Task,
    Trained,
    counts_for,
    expect_unseen,
    rows_of,
)
from ltbench.tracks.clustering.contract import UNKNOWN, ClusteringGrants
from ltbench.tracks.clustering.cutting import Cut, cut
from ltbench.tracks.clustering.learning import Grouped
from ltbench.tracks.clustering.problem import Clusters, Encoder, Known
from ltbench.tracks.clustering.track import SUPPLIES, answer, of_cut, run
from ltbench.tracks.marked import expect_deaf, fields, marked

NEEDS = SUPPLIES | {"two_classes"}
POOL = (9, 7, 5, 4)  # rows without label of each class of the small task
VIEWS, NOISE = 3, 0.1  # of each row of the small task
AT_ONCE = 64  # rows of a step there
CPU = torch.device("cpu")


def checks(recipe: Recipe) -> Mapping[str, Check]:
    """The checks of a recipe of networks that clusters rows; none of any other."""
    of_networks = all("network" in method.models for method in recipe.methods)
    if not of_networks or recipe.all_needs - NEEDS or not recipe.all_needs & SUPPLIES:
        return {}
    own = (test_rows_stay_out, withheld_labels_change_nothing)
    in_steps = any("unlabelled_loss" in hooks(type(method)) for method in recipe.methods)
    return {**shared(Task(trained, in_steps)), **named(own)}


def trained(
    method: Method, counts: Sequence[int], rows: Rows | None = None, **options: Any
) -> Trained:
    """What a short training with labelled rows and others makes of a method."""
    labelled = rows_of(counts) if rows is None else rows
    free = rows_of([POOL[c % len(POOL)] for c in range(len(counts))], seed=2)
    pool = torch.cat([labelled.inputs, free.inputs])
    told = torch.cat([labelled.labels, torch.full_like(free.labels, UNKNOWN)])
    noise = torch.randn(VIEWS, *pool.shape, generator=torch.Generator().manual_seed(3))
    granted = ClusteringGrants(
        pool=pool, labels=told, views=pool + NOISE * noise.to(pool), rows=AT_ONCE
    )
    grouped = Grouped(*getattr(method, "methods", (method,)))
    return OF_NETWORKS.trained(grouped, counts, rows, granted=granted, **options)


class Watching(Spy):
    """Looks for marks in what hooks are given, and in what is granted, which is features there."""

    name = "spy"

    def enter(self, train: Rows, run: Run) -> Rows:
        self.look("the pool", run.granted.pool)
        self.look("the views", run.granted.views)
        return super().enter(train, run)


def test_rows_stay_out(method: Recipe) -> None:
    """What a cell is given may hold no row of the test split, and no hook see one's features."""
    protocol, dataset = apart(method)
    spy = Watching()
    spy.look("what a cell is given", cut(protocol, dataset, 0).pool.inputs)
    made = Recipe(spy, *copy.deepcopy(method).methods)
    run(structs.replace(protocol, known=Known(1, 0.5)), made, 0, dataset, CPU)
    expect_unseen(spy)


def withheld_labels_change_nothing(method: Recipe) -> None:
    """A cell must answer alike whatever the labels of the rows are that it puts into clusters."""
    protocol, dataset = apart(method)
    protocol = structs.replace(protocol, known=Known(1, 0.5))
    rows = cut(protocol, dataset, 0)
    last = torch.full_like(rows.pool.labels, len(dataset.classes) - 1)
    first, second = (
        answered(protocol, method, rows, labels, dataset) for labels in (rows.pool.labels, last)
    )
    expect(
        torch.equal(first.scores, second.scores),
        "expected the same bits whatever the labels of clustered rows are, but scores differ by up "
        f"to {(first.scores - second.scores).abs().max():.2g}; these labels are withheld",
    )


def answered(
    protocol: Clusters, method: Recipe, rows: Cut, labels: Tensor, dataset: Dataset
) -> Answer:
    """What a cell of rows that are cut says, whose withheld labels are these."""
    false = Cut(rows.parts, Rows(rows.pool.inputs, labels), rows.told, rows.known)
    parts = of_cut(protocol, 0, false, len(dataset.classes))
    return answer(protocol, copy.deepcopy(method), 0, parts.given, parts.ask, CPU)


def apart(method: Recipe) -> tuple[Clusters, Dataset]:
    """A small protocol, and its data with a mark in every test row."""
    return marked(min(3, len(counts_for(method))), small, tested_alone=True)


def small(dataset: Dataset) -> Clusters:
    """A small protocol over a source without a test split of its own."""
    keys = fields(dataset)
    keys["data"] = structs.replace(keys["data"], validation_share=None)
    encoder = Encoder(
        epochs=1, batch_size=16, lr=1e-3, temperature=0.2, strong="affine", views=VIEWS
    )
    return Clusters(**keys, encoder=encoder, rows=256)


def learning(dataset: Dataset) -> Clusters:
    """The same with some classes known, so that clusters are of digits."""
    return structs.replace(small(dataset), known=Known(1, 0.5))


def decoys_change_nothing(method: Recipe) -> None:
    """A cell of digits must decide alike where the labels of test rows are false."""
    expect_deaf(method, learning, run)


THOROUGH = named((decoys_change_nothing,))
