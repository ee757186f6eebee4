"""The checks of a method that attacks its batches; none knows a formula."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from msgspec import structs
from torch import Tensor, nn

from ltbench.contract.context import Rows, Run
from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Check
from ltbench.datasets import Dataset, digits
from ltbench.protocols.schema import Imbalance
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
from ltbench.tracks.marked import expect_deaf, fields
from ltbench.tracks.robust.contract import RobustGrants, Threat
from ltbench.tracks.robust.problem import Robust, ThreatTable
from ltbench.tracks.robust.teachers import Attacked, Pair, Plain
from ltbench.tracks.robust.track import SUPPLIES, run

NEEDS = SUPPLIES | {"two_classes"}
THREAT = Threat(eps=0.1, step=0.05, steps=2)
COUNTS = (12, 8, 6)
TESTED = 30  # rows of each class, under attacks that are told apart
ELSEWHERE = 0.02  # of them, which attacks that begin elsewhere may find another way


def checks(recipe: Recipe) -> Mapping[str, Check]:
    """The checks of a recipe of networks that attacks; none of any other."""
    of_networks = all("network" in method.models for method in recipe.methods)
    if not of_networks or recipe.all_needs - NEEDS or not recipe.all_needs & SUPPLIES:
        return {}
    return {**shared(Task(trained)), **named((test_rows_stay_out,))}


def pixels(rows: Rows) -> Rows:
    """Rows whose inputs lie in [0, 1]."""
    return Rows(rows.inputs.sigmoid(), rows.labels)


def trained(
    method: Method, counts: Sequence[int], rows: Rows | None = None, **options: Any
) -> Trained:
    """What a short training under attack makes of a method."""
    rows = pixels(rows_of(counts) if rows is None else rows)

    def teacher(kind: type[Plain], balanced: bool) -> nn.Module:
        granted = RobustGrants(threat=THREAT)
        model: nn.Module = OF_NETWORKS.trained(kind(balanced), counts, rows, granted=granted).model
        return model

    def teachers(run: Run, balanced: bool = False) -> Pair:
        if balanced not in made:
            made[balanced] = teacher(Plain, balanced), teacher(Attacked, balanced)
        return made[balanced]

    made: dict[bool, Pair] = {}
    granted = RobustGrants(threat=THREAT, teachers=teachers)
    return OF_NETWORKS.trained(method, counts, rows, granted=granted, **options)


def test_rows_stay_out(method: Recipe) -> None:
    """No row of the test split may reach a hook while the network is trained."""
    classes = min(3, len(counts_for(method)))
    rows, test = pixels(rows_of(COUNTS[:classes])), pixels(rows_of([4] * classes, seed=1))
    test.inputs[:, :, 0, 0] = 1.0
    dataset = Dataset(rows, tuple("abc"[:classes]), test)
    spy = White()
    run(
        small(dataset), Recipe(spy, *copy.deepcopy(method).methods), 0, dataset, torch.device("cpu")
    )
    expect_unseen(spy)


class White(Spy):
    """Looks for a white corner, the mark of test rows whose pixels must lie in [0, 1]."""

    name = "spy"

    def look(self, hook: str, inputs: Tensor) -> None:
        self.called.add(hook)
        if (inputs[:, :, 0, 0] == 1).any():
            self.seen.add(hook)


def small(dataset: Dataset) -> Robust:
    """A small protocol over a data set with a test split of its own."""
    keys = fields(dataset)
    data = structs.replace(keys["data"], test_per_class=None, validation_share=None)
    keys |= {"data": data, "imbalance": Imbalance("source")}
    return Robust(**keys, threat=ThreatTable(THREAT.eps, THREAT.step, THREAT.steps))


def learning(dataset: Dataset) -> Robust:
    """A protocol whose networks learn enough to give rows different classes."""
    keys = fields(dataset)
    keys["budget"] = structs.replace(keys["budget"], epochs=20)
    return Robust(**keys, threat=ThreatTable(THREAT.eps, THREAT.step, THREAT.steps))


def decoys_change_nothing(method: Recipe) -> None:
    """A cell of digits must decide alike where the labels of test rows are false."""
    expect_deaf(method, learning, run)


def attacks_find_alike(method: Recipe) -> None:
    """The same rows must stand the attacks wherever they stand, but for where attacks begin."""
    names = ("0", "1") if "two_classes" in method.all_needs else ()
    whole = digits.load().of_classes(names) if names else digits.load()
    by_class = [(whole.train.labels == c).nonzero()[:, 0] for c in range(len(whole.classes))]
    rows, test = (
        whole.train[torch.cat([index[part] for index in by_class])]
        for part in (slice(TESTED, 2 * TESTED), slice(TESTED))
    )
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))

    def standing(test: Rows) -> Tensor:
        dataset = Dataset(rows, whole.classes, test)
        taught = structs.replace(small(dataset), budget=learning(dataset).budget)
        arrays = run(taught, method, 0, dataset, torch.device("cpu")).arrays
        assert arrays is not None
        return torch.from_numpy(arrays["robust"])

    changed = int((standing(test)[order] != standing(test[order])).sum())
    expect(
        changed <= ELSEWHERE * len(test),
        f"expected the same rows to stand the attacks in another order, but {changed} of "
        f"{len(test)} changed; decide each row by itself, and by nothing but its input",
    )


THOROUGH = named((decoys_change_nothing, attacks_find_alike))
