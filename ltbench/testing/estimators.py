"""The small task for methods that build estimators: the same clouds, as a table."""

from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ltbench.context import Rows, Run
from ltbench.datasets.tables import TableRows
from ltbench.errors import Unmet
from ltbench.protocols import Compute, TableData, Tabular
from ltbench.recipes import Recipe
from ltbench.tracks import tabular

LEARNERS: dict[str, dict[str, Any]] = {
    "tree": {"max_depth": 3},
    "logistic": {},
    "forest": {"n_estimators": 5},
}
"""Methods may be particular about what they take the place of, so there is one of each kind."""

COLUMNS = 12  # of the clouds'; more would only take longer


def on_estimators(method: Recipe) -> bool:
    """Whether a method builds estimators, and cannot train a network."""
    return any("network" not in part.models for part in method.methods)


def fitted(method: Recipe, rows: Rows, test: Rows) -> tuple[Run, Any, Tensor]:
    """The run, the model, and the scores of `test`, with the first learner that the method takes.

    Raises:
        Unmet: it takes none of them.
    """
    flat = [Rows(part.inputs.flatten(1)[:, :COLUMNS], part.labels) for part in (rows, test)]
    fold = tabular.Fold(flat[0], flat[1], categorical=())
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
