"""The checks of a method that builds estimators: the small task, as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ltbench.contract.context import Rows, Run
from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Check
from ltbench.errors import Unmet
from ltbench.protocols.schema import Compute
from ltbench.testing.checks import shared
from ltbench.testing.probes import as_recipe
from ltbench.testing.report import expect
from ltbench.testing.task import MARK, Spy, Task, Trained, counts_for, rows_of
from ltbench.tracks.tabular import track as tabular
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
    return Trained(*fitted(as_recipe(method), rows_of(counts) if rows is None else rows, test))


def held_out_rows_stay_out(method: Recipe) -> None:
    spy = Spy()
    run_marked(Recipe(*method.methods, spy), rows_of([20] * min(3, len(counts_for(method)))), MARK)
    expect(
        spy.called and not spy.seen,
        f"expected training rows alone, but held-out ones reached {', '.join(sorted(spy.seen))}",
    )


def fitted(method: Recipe, rows: Rows, test: Rows) -> tuple[Run, Any, Tensor]:
    """The run, the model, and the scores of `test`, with the first learner that the method takes.

    Raises:
        Unmet: it takes none of them.
    """
    flat = [Rows(part.inputs.flatten(1)[:, :COLUMNS], part.labels) for part in (rows, test)]
    fold = tabular.Fold(flat[0], flat[1])
    for learner in LEARNERS:
        try:
            done = tabular.fit(PROTOCOL, method, learner, fold.train, fold, seed=7)
        except Unmet as error:
            refusal = error
            continue
        return done.run, done.run.model, done.predict(fold.test.inputs)[0]
    raise refusal


def run_marked(method: Recipe, rows: Rows, mark: float) -> None:
    """Scores a fold of a table whose rows to score hold a mark in every column."""
    place = torch.from_numpy(tabular.stratified(rows.labels.numpy(), tabular.FOLDS, 0))
    inputs = rows.inputs.flatten(1)[:, :COLUMNS].clone()
    inputs[place == 0] = mark
    classes = tuple(map(str, rows.labels.unique().tolist()))
    table = TableRows(pd.DataFrame(inputs.double()), rows.labels.numpy(), classes, "any")
    fold = tabular.cut(table, 0, 2)[0]
    for learner in LEARNERS:
        try:
            tabular.scored(PROTOCOL, method, 0, table, learner, fold)
        except Unmet:
            continue
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
