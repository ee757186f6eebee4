"""The checks of a method that builds estimators: the small task, as a table."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ltbench.contract.context import Rows
from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Check
from ltbench.errors import Unmet
from ltbench.protocols.schema import Compute
from ltbench.testing.checks import shared
from ltbench.testing.probes import as_recipe
from ltbench.testing.report import expect, named
from ltbench.testing.task import MARK, Spy, Task, Trained, counts_for, expect_unseen, rows_of
from ltbench.tracks.tabular import track as tabular
from ltbench.tracks.tabular.folds import FOLDS, stratified
from ltbench.tracks.tabular.problem import TableData, Tabular
from ltbench.tracks.tabular.tables import TableRows

LEARNERS: dict[str, dict[str, Any]] = {
    "tree": {"max_depth": 3},
    "logistic": {},
    "forest": {"n_estimators": 5},
}
"""Methods may be particular about what they take the place of, so there is one of each kind."""

COLUMNS = 12  # of the clouds'; more would only take longer


def checks(recipe: Recipe) -> Mapping[str, Check]:
    """The checks of a recipe that builds estimators, and cannot train a network."""
    if all("network" in method.models for method in recipe.methods):
        return {}
    return {
        **shared(Task(trained, in_steps=False)),
        "held out rows stay out": held_out_rows_stay_out,
    }


def trained(method: Method, counts: Sequence[int], rows: Rows | None = None) -> Trained:
    """What a method makes of the small task with the first learner that it takes."""
    test = rows_of([4] * len(counts), seed=1)
    rows = rows_of(counts) if rows is None else rows
    done = fitted(as_recipe(method), rows, test)
    return Trained(done.run, done.run.model, done.predict(flat(test).inputs)[0], _of_images(done))


def _of_images(done: tabular.Fitted) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    return lambda inputs: done.predict(_columns(inputs))


def held_out_rows_stay_out(method: Recipe) -> None:
    spy = Spy()
    run_marked(Recipe(*method.methods, spy), rows_of([20] * min(3, len(counts_for(method)))), MARK)
    expect_unseen(spy)


def fitted(method: Recipe, rows: Rows, test: Rows) -> tabular.Fitted:
    """What fitting rows yields, with the first learner that the method takes.

    Raises:
        Unmet: it takes none of them.
    """
    classes = 1 + int(max(rows.labels.max(), test.labels.max()))
    fold = tabular.Fold(flat(rows), flat(test), classes)
    for learner in LEARNERS:
        try:
            return tabular.fit(PROTOCOL, method, learner, fold.train, fold, seed=7)
        except Unmet as error:
            refusal = error
    raise refusal


def flat(rows: Rows) -> Rows:
    """Images as the rows of a table."""
    return Rows(_columns(rows.inputs), rows.labels)


def _columns(inputs: Tensor) -> Tensor:
    return inputs.flatten(1)[:, :COLUMNS]


def run_marked(method: Recipe, rows: Rows, mark: float) -> None:
    """Scores a fold of a table whose rows to score hold a mark in every column."""
    place = torch.from_numpy(stratified(rows.labels.numpy(), FOLDS, 0))
    inputs = rows.inputs.flatten(1)[:, :COLUMNS].clone()
    inputs[place == 0] = mark
    classes = tuple(map(str, rows.labels.unique().tolist()))
    table = TableRows(pd.DataFrame(inputs.double()), rows.labels.numpy(), classes, "any")
    sheet = tabular.divide(PROTOCOL, 0, table).sheets[0]
    for learner in LEARNERS:
        turn = tabular.Turn(PROTOCOL, method, sheet.given, learner)
        try:
            turn.learn()
        except Unmet:
            continue
        turn.say(sheet.ask().inputs)
        return


PROTOCOL = Tabular(
    name="check",
    version=1,
    description="",
    recipes=["erm"],
    seeds=1,
    tables={"clouds": TableData("clouds", "any")},
    learners=LEARNERS,
    compute=Compute(threads=1),
)


def decoys_change_nothing(method: Recipe) -> None:
    counts = counts_for(method)
    rows, test = rows_of(counts), rows_of([20] * len(counts), seed=1)
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))
    turned = replace(test[order], labels=(test.labels[order] + 1) % len(counts))

    def decided(test: Rows) -> Tensor:
        return fitted(copy.deepcopy(method), rows, test).predict(flat(test).inputs)[1]

    changed = int((decided(test)[order] != decided(turned)).sum())
    expect(
        not changed,
        f"expected the same decisions whatever is told of the test rows, but {changed} of "
        f"{len(test)} changed with the order and the labels of these; decide each row by itself, "
        "and by nothing but its input",
    )


THOROUGH = named((decoys_change_nothing,))
