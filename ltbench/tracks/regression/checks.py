"""The checks of a method that learns numbers; none knows a formula."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from msgspec import structs
from torch import Tensor

from ltbench.contract.context import Phase, Rows, Run
from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Answer, Check
from ltbench.datasets import Dataset
from ltbench.models.mlp import Network, Options
from ltbench.testing import checks as common
from ltbench.testing.report import expect, named
from ltbench.testing.task import (
    BATCH,
    COUNTS,
    MARK,
    SHAPE,
    Spy,
    Task,
    Trained,
    expect_unseen,
    rows_of,
)
from ltbench.tracks.marked import fields
from ltbench.tracks.regression.contract import VALUES, Regression, ValueGrants
from ltbench.tracks.regression.learning import Valued
from ltbench.tracks.regression.problem import Numbers, Values
from ltbench.tracks.regression.track import SUPPLIES, answer, divide, run, scale_of
from ltbench.training.engine import generator, predict, seeded, train

CPU = torch.device("cpu")
OF_ALL = (
    common.neutral_is_plain,
    common.same_seed_same_bits,
    common.inputs_and_chance_untouched,
    common.rare_classes_are_handled,
    common.equal_counts_are_handled,
    common.it_pickles,
    common.it_resumes,
    common.frozen_parts_stay,
    common.statistics_move_once_a_step,
    common.search_spaces_are_sound,
)
"""The checks of every track that ask nothing of classes; here they are of bins."""


def checks(recipe: Recipe) -> Mapping[str, Check]:
    """The checks of a recipe of networks that learns values; none of any other."""
    of_networks = all("network" in method.models for method in recipe.methods)
    if not of_networks or recipe.all_needs - SUPPLIES or VALUES not in recipe.all_needs:
        return {}
    own = (test_rows_stay_out, test_values_change_nothing, units_do_not_matter)
    shared: dict[str, Check] = {
        one.__name__.replace("_", " "): partial(_of_values, one) for one in OF_ALL
    }
    return {**shared, **named(own)}


def _of_values(check: Callable[..., None], method: Recipe) -> None:
    check(Valued(*method.methods), task=Task(trained))


def values_of(labels: Tensor) -> Tensor:
    """A number [N] within the bin of each row, which is one wide."""
    within = (torch.arange(len(labels), device=labels.device) * 0.618) % 1
    return labels + 0.05 + 0.9 * within.double()


def trained(
    method: Method,
    counts: Sequence[int] = COUNTS,
    rows: Rows | None = None,
    device: torch.device | None = None,
    **options: Any,
) -> Trained:
    """What a short training on numbers makes of a method."""
    device = device or CPU
    valued = Valued(*getattr(method, "methods", (method,)))
    given = (rows_of(counts) if rows is None else rows).to(device)
    values = values_of(given.labels)
    scale = scale_of(values)
    edges = torch.arange(len(counts) + 1, dtype=torch.float64, device=device)
    whole = torch.tensor(counts, dtype=torch.float32, device=device)
    started = Run(
        counts=whole,
        seen=whole / whole.sum(),
        progress=torch.zeros((), device=device),
        phase=Phase("main", 3, lr=0.05, weight_decay=1e-3, warmup=0.1),
        seed=7,
        device=device,
        granted=ValueGrants(edges=edges, mean=scale.mean, deviation=scale.deviation),
    )
    started.rng = generator(started, "methods")
    with seeded(started, "network"):
        started.model = Network(SHAPE, 1, Options([16], batch_norm=True)).to(device)
    model = train(
        valued, scale.standardised(replace(given, labels=values)), started, BATCH, **options
    )
    predicted = partial(_predicted, valued, model, started)
    test = rows_of([4] * len(counts), seed=1).to(device)
    return Trained(started, model, predicted(test.inputs)[0], predicted)


def _predicted(method: Method, model: Any, run: Run, inputs: Tensor) -> tuple[Tensor, Tensor]:
    return predict(method, model, inputs, run)


class Watching(Spy, Regression):
    """Looks for marks in what hooks are given."""


def test_rows_stay_out(method: Recipe) -> None:
    """No row of the test split, and none put aside, may reach a hook."""
    rows = _rows(20)
    numbered = torch.arange(float(len(rows))).reshape(-1, 1, 1, 1).expand(-1, *SHAPE)
    protocol, of_numbers = _small(), Dataset(replace(rows, inputs=numbered), ())
    kept = divide(protocol, 0, of_numbers, SUPPLIES).given.train.inputs[:, 0, 0, 0].long()
    held_out = torch.ones(len(rows), dtype=torch.bool).index_fill(0, kept, False)
    rows.inputs[held_out, :, 0, 0] = MARK
    spy = Watching()
    run(protocol, Recipe(*method.methods, spy), 0, Dataset(rows, ()), CPU)
    expect_unseen(spy)


def test_values_change_nothing(method: Recipe) -> None:
    """A cell must answer alike whatever the values of its test rows are."""
    protocol = _small()
    protocol = structs.replace(protocol, data=structs.replace(protocol.data, test_per_class=None))
    test = rows_of([5] * 4, seed=1)
    told = values_of(test.labels)
    first, second = (
        _answered(protocol, method, Dataset(_rows(20), (), replace(test, labels=values)))
        for values in (told, told.flip(0))
    )
    expect(
        torch.equal(first.scores, second.scores),
        "expected the same bits whatever the values of test rows are, but what is said differs by "
        f"up to {(first.scores - second.scores).abs().max():.2g}",
    )


def units_do_not_matter(method: Recipe) -> None:
    """A cell must say the same of values that are told in another unit."""
    protocol, rows = _small(), _rows(20)
    values = structs.replace(protocol.values, high=2 * protocol.values.high)
    twice = replace(rows, labels=2 * rows.labels)
    first = _answered(protocol, method, Dataset(rows, ()))
    second = _answered(structs.replace(protocol, values=values), method, Dataset(twice, ()))
    expect(
        torch.allclose(2 * first.scores, second.scores, rtol=1e-6),
        "expected the same of values in half the unit, but what is said differs by up to "
        f"{(2 * first.scores - second.scores).abs().max() / 2:.2g}; lengths are in deviations of "
        "the values that hooks are given, or in bins",
    )


def _rows(each: int) -> Rows:
    rows = rows_of([each] * 4)
    return replace(rows, labels=values_of(rows.labels))


def _answered(protocol: Numbers, method: Recipe, dataset: Dataset) -> Answer:
    parts = divide(protocol, 0, dataset, method.all_needs)
    return answer(protocol, copy.deepcopy(method), 0, parts.given, parts.ask, CPU)


def _small() -> Numbers:
    """A small protocol of any source whose values are from 0 to 4."""
    keys = fields(Dataset(_rows(1), ("a", "b", "c", "d")))
    keys["data"] = structs.replace(keys["data"], fingerprint="any")
    keys["scoring"] = structs.replace(keys["scoring"], metrics=["balanced_mae"])
    values = Values(kind="names", unit="steps", low=0.0, high=4.0, bins=4)
    return Numbers(**keys, values=values)
