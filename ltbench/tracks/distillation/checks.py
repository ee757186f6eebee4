"""The checks of a method that distils a training set; none knows a formula or a method's name."""

import copy
import pickle
import random
from typing import Any

import numpy as np
import torch
from msgspec import structs
from torch import Tensor, nn

from ltbench.contract.context import Phase, Rows, Run
from ltbench.contract.recipes import Recipe
from ltbench.datasets import Dataset
from ltbench.errors import LTBenchError
from ltbench.models.mlp import Network, Options
from ltbench.testing import task
from ltbench.testing.checks import numpy_state
from ltbench.testing.report import NotApplicable, expect, named
from ltbench.tracks.distillation import track as distillation
from ltbench.tracks.distillation.problem import Distillation, Distilling
from ltbench.tracks.distillation.track import DistillationGrants, Networks
from ltbench.tracks.marked import expect_deaf, fields
from ltbench.tracks.marked import marked as with_mark
from ltbench.training.engine import generator, seeded

COUNTS = (24, 12, 6, 4)
BUDGET = Distilling(ipc=2, iterations=3, lr=0.01, rows=4, networks=2, epochs=1)


def distilled(
    method: Recipe, rows: Rows, budget: Distilling = BUDGET, order: Tensor | None = None
) -> Rows:
    """What a fresh copy of a recipe makes of rows.

    `order` [C] are the classes as they would be without other names; heads of the pool follow it.
    """
    classes = int(rows.labels.max()) + 1
    counts = rows.labels.bincount(minlength=classes).float()
    run = Run(
        counts=counts,
        seen=counts / counts.sum(),
        progress=torch.zeros(()),
        phase=Phase("main", 1, lr=0.05, weight_decay=1e-3),
        seed=7,
    )
    run.rng = generator(run, "methods")
    networks = [_network(run, f"network {k}", classes, order) for k in range(2 * budget.networks)]
    pool: Networks = list(zip(networks[::2], networks[1::2], strict=True))
    run.model = copy.deepcopy(networks[0])
    run.granted = DistillationGrants(
        ipc=budget.ipc,
        distilling=budget,
        pool=lambda balanced=False: pool,
        whole=lambda: rows,
    )
    return copy.deepcopy(method).resample(rows, run)


def _network(run: Run, stream: str, classes: int, order: Tensor | None) -> nn.Module:
    with seeded(run, stream):
        network = Network(task.SHAPE, classes, Options([16], batch_norm=False))
    network.eval().requires_grad_(False)
    if order is not None:
        for parameter in network.head.parameters():
            parameter.copy_(parameter[order])
    return network


def _same(first: Rows, second: Rows) -> bool:
    alike = torch.equal(first.inputs, second.inputs)
    return alike and torch.equal(first.labels, second.labels)


def _expect_budget(method: Recipe, rows: Rows, budget: Distilling) -> None:
    if "whole" in method.all_needs:
        raise NotApplicable("it stands outside of the budget")
    made = distilled(method, rows, budget)
    classes = int(rows.labels.max()) + 1
    counts = made.labels.bincount(minlength=classes)
    expect(
        (counts <= budget.ipc).all() and (counts > 0).all() and made.labels.dtype == torch.int64,
        f"expected 1 to {budget.ipc} rows of each class with hard labels, but saw "
        f"{counts.tolist()} of {made.labels.dtype}; run.ipc tells the budget",
    )
    low, high = rows.inputs.min(), rows.inputs.max()
    within = torch.isfinite(made.inputs).all() and made.inputs.min() >= low
    expect(
        made.inputs.dtype == rows.inputs.dtype
        and made.inputs.shape[1:] == rows.inputs.shape[1:]
        and within
        and made.inputs.max() <= high,
        f"expected {rows.inputs.dtype} {list(rows.inputs.shape[1:])} within the real rows' range, "
        f"but saw {made.inputs.dtype} {list(made.inputs.shape[1:])} from "
        f"{made.inputs.min():g} to {made.inputs.max():g}; clamp and round what was learned",
    )


def same_seed_same_bits(method: Recipe) -> None:
    rows = task.rows_of(COUNTS)
    expect(
        _same(distilled(method, rows), distilled(method, rows)),
        "expected one seed to give one set, but two differ; draw from run.rng alone",
    )


def inputs_and_chance_untouched(method: Recipe) -> None:
    rows = task.rows_of(COUNTS)
    before = Rows(rows.inputs.clone(), rows.labels.clone())
    states = (torch.get_rng_state(), numpy_state(), random.getstate())
    distilled(method, rows)
    expect(_same(rows, before), "expected the training rows as they were; work on a copy")
    expect(
        torch.equal(states[0], torch.get_rng_state())
        and np.array_equal(states[1], numpy_state())
        and states[2] == random.getstate(),
        "expected the global generators as they were, but one moved on; draw from run.rng",
    )


def class_names_do_not_matter(method: Recipe) -> None:
    rows = task.rows_of(COUNTS)
    order = torch.randperm(len(COUNTS), generator=torch.Generator().manual_seed(1))
    plain = distilled(method, rows)
    renamed = distilled(method, Rows(rows.inputs, order.argsort()[rows.labels]), order=order)
    for c in range(len(COUNTS)):
        own, other = (
            made.inputs[made.labels == name]
            for made, name in ((plain, c), (renamed, int(order.argsort()[c])))
        )
        # rounding may turn the sign of a slope that is almost nothing
        alike = own.shape == other.shape and ((own - other).abs() > 1e-3).float().mean() < 0.01
        expect(
            alike,
            "expected the same images under other class names, but they differ; a class's number "
            "must not count",
        )


def budget_is_kept(method: Recipe) -> None:
    _expect_budget(method, task.rows_of(COUNTS), BUDGET)


def rare_classes_are_handled(method: Recipe) -> None:
    _expect_budget(method, task.rows_of((29, 2, 1)), structs.replace(BUDGET, ipc=3))


def equal_counts_are_handled(method: Recipe) -> None:
    _expect_budget(method, task.rows_of((10, 10, 10)), BUDGET)


def one_row_a_class_is_handled(method: Recipe) -> None:
    try:
        _expect_budget(method, task.rows_of(COUNTS), structs.replace(BUDGET, ipc=1))
    except LTBenchError:
        return  # refused in a sentence


def any_number_of_classes(method: Recipe) -> None:
    for counts in ((20, 10), tuple(range(101, 1, -1))):
        _expect_budget(method, task.rows_of(counts), BUDGET)


def bytes_stay_bytes(method: Recipe) -> None:
    rows = task.rows_of(COUNTS)
    pixels = (rows.inputs * 40 + 128).clamp(0, 255).to(torch.uint8)
    _expect_budget(method, Rows(pixels, rows.labels), BUDGET)


def it_pickles(method: Recipe) -> None:
    again: Recipe = pickle.loads(pickle.dumps(method))
    expect(
        again.text == method.text,
        f"expected {method.text} back from a pickle, but got {again.text}",
    )
    rows = task.rows_of(COUNTS)
    expect(
        _same(distilled(method, rows), distilled(again, rows)),
        "expected a pickled copy to make the same set; store parameters as they are given",
    )


def held_out_rows_stay_out(method: Recipe) -> None:
    protocol, dataset = marked()
    spy = task.Spy()
    recipe = Recipe(spy, *copy.deepcopy(method).methods)
    distillation.run(protocol, recipe, 0, dataset, torch.device("cpu"))
    task.expect_unseen(spy)


def marked() -> tuple[Distillation, Dataset]:
    """A small protocol, and its data with a mark in every test row."""
    return with_mark(3, small, tested_alone=True)


def small(dataset: Dataset, **keys: Any) -> Distillation:
    told = fields(dataset)
    told["data"] = structs.replace(told["data"], validation_share=None)
    return Distillation(**{**told, "distilling": BUDGET, "networks": 1, "steps": 2, **keys})


def learning(dataset: Dataset) -> Distillation:
    """A protocol whose networks learn enough to give rows different classes."""
    return small(dataset, steps=100)


def decoys_change_nothing(method: Recipe) -> None:
    expect_deaf(method, learning, distillation.run)


CHECKS = named(
    (
        same_seed_same_bits,
        inputs_and_chance_untouched,
        class_names_do_not_matter,
        budget_is_kept,
        rare_classes_are_handled,
        equal_counts_are_handled,
        one_row_a_class_is_handled,
        any_number_of_classes,
        bytes_stay_bytes,
        it_pickles,
        held_out_rows_stay_out,
    )
)
THOROUGH = named((decoys_change_nothing,))
