"""The checks of a method that compresses a network; none knows a formula or a method's name."""

import copy
import math
import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from msgspec import structs
from torch import Tensor, nn

from ltbench.contract.context import Phase, Rows, Run
from ltbench.contract.recipes import Recipe
from ltbench.datasets import Dataset
from ltbench.errors import Diverged, LTBenchError
from ltbench.models.resnet import Network, Options
from ltbench.testing import task
from ltbench.testing.checks import expect_decided_alone, numpy_state
from ltbench.testing.report import Failure, NotApplicable, expect, named
from ltbench.tracks.compression import track as compression
from ltbench.tracks.compression.contract import CompressionGrants, Recovering
from ltbench.tracks.compression.problem import Compressing, Compression, Pool
from ltbench.tracks.compression.pruning import size
from ltbench.tracks.marked import expect_deaf, fields
from ltbench.tracks.marked import marked as with_mark
from ltbench.training.engine import State, generator, predict, seeded, train

COUNTS = (24, 12, 6, 4)
EPOCHS = 3
GRANTED = Compressing(keep=0.5, rows=2, factor=4.0, class_order="label", teacher="seed")


@dataclass
class Made:
    """What a short compression yields: its run, the network, its scores, and how it predicts."""

    run: Run
    model: nn.Module
    scores: Tensor
    predict: Callable[[Tensor], tuple[Tensor, Tensor]]

    @property
    def state(self) -> State:
        return {"scores": self.scores, **self.model.state_dict()}


def begun(rows: Rows, keep: float = GRANTED.keep, epochs: int = EPOCHS) -> Run:
    """A run with a small teacher of blocks, and a pool of noise like the rows."""
    classes = int(rows.labels.max()) + 1
    counts = rows.labels.bincount(minlength=classes).float()
    run = Run(
        counts=counts,
        seen=counts / counts.sum(),
        progress=torch.zeros(()),
        phase=Phase("main", epochs, lr=0.05, weight_decay=1e-3),
        seed=7,
        train=rows,
    )
    run.rng = generator(run, "methods")
    with seeded(run, "network"):
        teacher = Network(tuple(rows.inputs.shape[1:]), classes, Options(depth=8, width=4))
        ood = 40 * torch.randn(20, *rows.inputs.shape[1:]) + 128
    if rows.inputs.dtype == torch.uint8:
        ood = ood.clamp(0, 255).to(torch.uint8)
    else:
        ood = ((ood - 128) / 40).to(rows.inputs.dtype)
    run.granted = CompressionGrants(
        run=run,
        teacher=teacher.eval().requires_grad_(False),
        compressing=structs.replace(GRANTED, keep=keep),
        ood=ood,
    )
    run.model = copy.deepcopy(teacher).requires_grad_(True)
    return run


def compressed(method: Recipe, rows: Rows, keep: float = GRANTED.keep) -> Made:
    """What a fresh copy of a recipe makes of a small teacher with rows."""
    method, run = Recovering(*copy.deepcopy(method.methods)), begun(rows, keep)
    model = train(method, rows, run, task.BATCH)

    def predicted(inputs: Tensor) -> tuple[Tensor, Tensor]:
        return predict(method, model, inputs, run)

    return Made(run, model, predicted(rows.inputs)[0], predicted)


def _same(first: State, second: State) -> bool:
    alike = first.keys() == second.keys()
    return alike and all(torch.equal(first[key], second[key]) for key in first)


def same_seed_same_bits(method: Recipe) -> None:
    rows = task.rows_of(COUNTS)
    expect(
        _same(compressed(method, rows).state, compressed(method, rows).state),
        "expected one seed to give one network, but two differ; draw from run.rng alone",
    )


def teacher_rows_and_chance_untouched(method: Recipe) -> None:
    rows = task.rows_of(COUNTS)
    before = Rows(rows.inputs.clone(), rows.labels.clone())
    states = (torch.get_rng_state(), numpy_state(), random.getstate())
    run, fresh = compressed(method, rows).run, begun(rows)
    expect(
        torch.equal(rows.inputs, before.inputs) and torch.equal(rows.labels, before.labels),
        "expected the training rows as they were, but they changed; work on a copy",
    )
    expect(
        _same(run.granted.teacher.state_dict(), fresh.granted.teacher.state_dict())
        and not any(module.training for module in run.granted.teacher.modules()),
        "expected the teacher as it was, but it changed; run.model is the copy to work on",
    )
    expect(
        torch.equal(run.granted.ood, fresh.granted.ood),
        "expected the pool as it was; work on a copy",
    )
    expect(
        torch.equal(states[0], torch.get_rng_state())
        and np.array_equal(states[1], numpy_state())
        and states[2] == random.getstate(),
        "expected the global generators as they were, but one moved on; draw from run.rng",
    )


def network_is_smaller(method: Recipe) -> None:
    _refuse_without_compressor(method)
    made = compressed(method, task.rows_of(COUNTS))
    left, whole = size(made.model), size(made.run.granted.teacher)
    expect(
        left < whole,
        f"expected fewer than the teacher's {whole} parameters, but {left} are left; a mask "
        "makes no network smaller, ltbench.pruning does",
    )


def whole_network_is_the_teacher(method: Recipe) -> None:
    _refuse_without_compressor(method)
    rows = task.rows_of(COUNTS)
    run = begun(rows, keep=1.0)
    assert run.model is not None
    run.recipe = Recovering(*method.methods)
    with seeded(run, "build"):
        model = method.build(run.model, run).eval()
    gap = (model(rows.inputs) - run.granted.teacher(rows.inputs)).abs().max().item()
    expect(
        gap < 1e-3,
        f"expected the teacher's scores where all filters are kept, but they differ by {gap:.2g}",
    )


def _refuse_without_compressor(method: Recipe) -> None:
    if "teacher" not in method.all_needs:
        raise NotApplicable("it compresses nothing by itself")


def rare_classes_are_handled(method: Recipe) -> None:
    for counts in ((29, 2, 1), (30, 1, 1)):
        _expect_numbers(method, task.rows_of(counts))


def equal_counts_are_handled(method: Recipe) -> None:
    _expect_numbers(method, task.rows_of((10, 10, 10)))


def any_number_of_classes(method: Recipe) -> None:
    for counts in ((20, 10), tuple(max(1, rows // 4) for rows in range(41, 1, -1))):
        _expect_numbers(method, task.rows_of(counts))


def bytes_are_taken(method: Recipe) -> None:
    rows = task.rows_of(COUNTS)
    pixels = (rows.inputs * 40 + 128).clamp(0, 255).to(torch.uint8)
    _expect_numbers(method, Rows(pixels, rows.labels))


def _expect_numbers(method: Recipe, rows: Rows) -> None:
    counts = rows.labels.bincount().tolist()
    try:
        scores = compressed(method, rows).scores
    except Diverged as error:
        raise Failure(
            f"expected numbers with {counts} rows a class, but {error}; guard the division, or "
            "raise LTBenchError with a sentence"
        ) from None
    except LTBenchError:
        return  # refused in a sentence
    expect(
        scores.shape[1] == len(counts) and torch.isfinite(scores).all(),
        f"expected finite scores with {counts} rows a class, but saw {list(scores.shape)}",
    )


def statistics_move_once_a_step(method: Recipe) -> None:
    rows = task.rows_of(COUNTS)
    run = begun(rows)
    run.recipe = method
    phases = method.phases([run.phase], run)
    moving = sum(phase.epochs for phase in phases if not (phase.frozen_bn or phase.on_features))
    steps = moving * math.ceil(len(rows) / task.BATCH)
    with task.statistics_watched() as moved:
        model = compressed(method, rows).model
    most = max((moved[module] for module in model.modules()), default=0)
    expect(
        most <= steps,
        f"expected BatchNorm statistics to move once in each of {steps} steps at most, but they "
        f"moved {most} times; rows of other kinds go through run.aside",
    )


def it_pickles(method: Recipe) -> None:
    again: Recipe = pickle.loads(pickle.dumps(method))
    expect(
        again.text == method.text,
        f"expected {method.text} back from a pickle, but got {again.text}",
    )
    rows = task.rows_of(COUNTS)
    expect(
        _same(compressed(method, rows).state, compressed(again, rows).state),
        "expected a pickled copy to make the same network; store parameters as they are given",
    )


def rows_are_decided_alone(method: Recipe) -> None:
    expect_decided_alone(compressed(method, task.rows_of(COUNTS)).predict)


def held_out_rows_stay_out(method: Recipe) -> None:
    _refuse_without_compressor(method)
    protocol, dataset = marked()
    spy = task.Spy()
    recipe = Recipe(*copy.deepcopy(method).methods, spy)
    compression.run(protocol, recipe, 0, dataset, torch.device("cpu"))
    task.expect_unseen(spy)


def marked() -> tuple[Compression, Dataset]:
    """A small protocol, and its data with a mark in every test row."""
    _, rows = with_mark(3, small, tested_alone=True)
    dataset = with_pool(rows)
    return small(dataset), dataset


def small(dataset: Dataset, **keys: Any) -> Compression:
    told = fields(dataset)
    told["data"] = structs.replace(told["data"], validation_share=None)
    told["imbalance"] = structs.replace(told["imbalance"], counts=[16] * len(dataset.classes))
    told["network"] = {"name": "resnet", "depth": 8, "width": 4}
    granted = {"compressing": GRANTED, "teacher": told["budget"], "ood": Pool("noise", "any", 12)}
    return Compression(**{**told, **granted, **keys})


def decoys_change_nothing(method: Recipe) -> None:
    _refuse_without_compressor(method)
    expect_deaf(method, small, compression.run, with_pool)


def with_pool(dataset: Dataset) -> Dataset:
    pool = torch.randn(12, *task.SHAPE)
    return compression.Source(dataset.train, dataset.classes, dataset.test, pool=pool)


CHECKS = named(
    (
        same_seed_same_bits,
        teacher_rows_and_chance_untouched,
        network_is_smaller,
        whole_network_is_the_teacher,
        rare_classes_are_handled,
        equal_counts_are_handled,
        any_number_of_classes,
        bytes_are_taken,
        statistics_move_once_a_step,
        it_pickles,
        rows_are_decided_alone,
        held_out_rows_stay_out,
    )
)
THOROUGH = named((decoys_change_nothing,))
