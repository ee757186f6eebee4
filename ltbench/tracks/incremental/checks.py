"""The checks of a method that acts on what is left of earlier tasks; none knows a formula."""

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from msgspec import structs
from torch import Tensor

from ltbench.contract.context import Rows, Run
from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Check
from ltbench.datasets import Dataset
from ltbench.errors import Diverged, LTBenchError
from ltbench.testing.checks import shared
from ltbench.testing.report import Failure, expect, named
from ltbench.testing.task import Spy, Task, Trained, counts_for, expect_unseen, rows_of
from ltbench.tracks.dividing import Given
from ltbench.tracks.incremental.arriving import dealt
from ltbench.tracks.incremental.contract import PAST_ROWS, old_classes
from ltbench.tracks.incremental.problem import Incremental, Memory
from ltbench.tracks.incremental.tasks import Learned, learn
from ltbench.tracks.incremental.track import SUPPLIES, run
from ltbench.tracks.marked import expect_deaf, fields, marked
from ltbench.training.engine import predict

CPU = torch.device("cpu")
NEEDS = SUPPLIES | {"two_classes"}
TASKS = 2  # of the small task
PER_CLASS = 2  # rows that memory holds there
OTHERWISE = ("it resumes", "frozen parts stay", "statistics move once a step")
"""Checks of one training from its start, which a cell of this track is not."""


def checks(recipe: Recipe) -> Mapping[str, Check]:
    """The checks of a recipe of networks that asks for the past; none of any other."""
    of_networks = all("network" in method.models for method in recipe.methods)
    if not of_networks or recipe.all_needs - NEEDS or not recipe.all_needs & SUPPLIES:
        return {}
    common = {name: one for name, one in shared(Task(trained)).items() if name not in OTHERWISE}
    own = (any_number_of_tasks, no_memory_is_handled, rows_that_are_gone_stay_gone)
    return {**common, **named((*own, held_out_rows_stay_out))}


def taught(
    method: Method,
    counts: Sequence[int],
    rows: Rows | None = None,
    tasks: int = TASKS,
    per_class: int = PER_CLASS,
) -> Learned:
    """What a method makes of the clouds of the small task, which arrive in their order."""
    rows = rows_of(counts) if rows is None else rows
    names = tuple(map(str, range(len(counts))))
    protocol = small(Dataset(rows, names), tasks, per_class)
    given = Given(rows, None, list(counts), len(counts), dealt(protocol, len(counts)))
    whole = method if isinstance(method, Recipe) else Recipe(method)
    return learn(protocol, whole, 7, given, CPU)


def trained(
    method: Method, counts: Sequence[int], rows: Rows | None = None, **options: Any
) -> Trained:
    """What a short training in two tasks makes of a method."""
    last = taught(method, counts, rows, **options).networks[-1]
    predicted = partial(predict, last.method, last.model, run=last.run)
    test = rows_of([4] * len(counts), seed=1)
    return Trained(last.run, last.model, predicted(test.inputs)[0], predicted)


def any_number_of_tasks(method: Recipe) -> None:
    """One task, and one class in each, must train, or be refused in a sentence."""
    counts = counts_for(method)
    for tasks in (1, len(counts)):
        _expect_numbers(method, counts, f"{tasks} tasks", tasks=tasks)


def no_memory_is_handled(method: Recipe) -> None:
    """Where memory holds no row, a method must train, or be refused in a sentence."""
    _expect_numbers(method, counts_for(method), "no memory", per_class=0)


def _expect_numbers(method: Recipe, counts: Sequence[int], what: str, **options: Any) -> None:
    try:
        scores = trained(copy.deepcopy(method), counts, **options).scores
    except Diverged as error:
        raise Failure(
            f"expected numbers with {what}, but {error}; an old class may have no rows"
        ) from None
    except LTBenchError:
        return  # refused in a sentence
    expect(
        scores.shape[1] == len(counts) and torch.isfinite(scores).all(),
        f"expected finite scores of {len(counts)} classes with {what}, but saw others",
    )


class Following(Method):
    """Notes which rows of old classes a task is given, as the first of all methods."""

    name = "following"

    def __init__(self) -> None:
        self.found: list[set[int]] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> "Following":
        return self  # a copy would keep to itself what it saw

    def resample(self, train: Rows, run: Run) -> Rows:
        self.found.append(numbers_of(train, old_classes(run)))
        return train


class Ending(Following):
    """Notes which of them are trained on, as the last one."""

    name = "ending"


def numbers_of(rows: Rows, old: int) -> set[int]:
    """The numbers that stand in the rows of old classes."""
    found: Tensor = rows.inputs[rows.labels < old].flatten(1)[:, 0]
    return {int(number) for number in found.tolist() if number == int(number)}


def rows_that_are_gone_stay_gone(method: Recipe) -> None:
    """Rows that were not remembered must not come again, and memory must not grow beyond room."""
    counts = counts_for(method)
    rows = rows_of(counts)
    rows.inputs.flatten(1)[:, 0] = torch.arange(float(len(rows))) + 1
    first, last = Following(), Ending()
    taught(Recipe(first, *copy.deepcopy(method.methods), last), counts, rows, tasks=len(counts))
    if PAST_ROWS in method.all_needs:
        return  # all of them come again
    for old, (given, used) in enumerate(zip(first.found, last.found, strict=True)):
        expect(
            len(given) <= PER_CLASS * old,
            f"expected {PER_CLASS * old} rows of {old} earlier classes at most, but "
            f"{len(given)} were given",
        )
        expect(
            used <= given,
            "expected rows of earlier classes out of memory alone, but others are trained on; what "
            "is not remembered is gone",
        )


def held_out_rows_stay_out(method: Recipe) -> None:
    """No row of the test split may reach a hook."""
    protocol, dataset = marked(min(3, len(counts_for(method))), of_marked)
    spy = Spy()
    run(protocol, Recipe(*method.methods, spy), 0, dataset, CPU)
    expect_unseen(spy)


def small(dataset: Dataset, tasks: int = TASKS, per_class: int = PER_CLASS) -> Incremental:
    """A small protocol over a data set."""
    keys = fields(dataset)
    data = structs.replace(keys["data"], validation_share=None)
    scoring = structs.replace(keys["scoring"], metrics=["average_incremental"])
    memory = Memory(per_class=per_class)
    return Incremental(**{**keys, "data": data, "scoring": scoring}, tasks=tasks, memory=memory)


def of_marked(dataset: Dataset) -> Incremental:
    return small(dataset)


def learning(dataset: Dataset) -> Incremental:
    """A protocol whose networks learn enough to give rows different classes."""
    protocol = small(dataset)
    return structs.replace(protocol, budget=structs.replace(protocol.budget, epochs=20))


def decoys_change_nothing(method: Recipe) -> None:
    """A cell of digits must decide alike where the labels of test rows are false."""
    expect_deaf(method, learning, run)


THOROUGH = named((decoys_change_nothing,))
