"""Class-incremental learning: a network learns task after task, scored on all known classes."""

from collections.abc import Callable
from functools import cache, partial

import numpy as np
import torch
from msgspec import Struct
from torch import Tensor

from ltbench.contract.context import Rows
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import (
    Answer,
    Arrays,
    Asked,
    Divided,
    Followed,
    Outcome,
    around,
    undivided,
)
from ltbench.datasets import Dataset
from ltbench.errors import LTBenchError
from ltbench.results.records import Record, Scores
from ltbench.tracks import classification
from ltbench.tracks.classification import (
    EXACT,
    WARM_UP_STEPS,
    Parts,
    recalls_of,
    refuse_adapting,
    refuse_foreign,
    refuse_needs,
    seconds_of,
    time_plain,
    timed,
)
from ltbench.tracks.dividing import Given, asked
from ltbench.tracks.incremental.arriving import arriving
from ltbench.tracks.incremental.contract import PAST, PAST_ROWS
from ltbench.tracks.incremental.problem import Incremental
from ltbench.tracks.incremental.scores import scored_tasks, task_accuracies
from ltbench.tracks.incremental.tasks import learn, plain_rows
from ltbench.training.engine import answered, portions
from ltbench.training.timing import Clock

SUPPLIES = frozenset({PAST, PAST_ROWS})
OF_CLASSES = ("many", "medium", "few", "worst_class", "macro_f1", "expected_calibration_error")
"""Measures of the last network, which it shares with networks that learned all at once."""

LEAST = torch.finfo(torch.float32).min  # the score of a class that a network does not know yet


class OfTasks(Struct, frozen=True):
    """What a record keeps beside its measures.

    `classes` are the source's numbers of the classes of each task, `recalls` [T, T] the mean recall
    of each task's classes after each task, None of those to come.
    """

    classes: list[list[int]]
    recalls: list[list[float | None]]


def seconds(protocol: Incremental, dataset: Dataset, device: torch.device) -> float:
    """About what a cell of plain training takes here, measured for a moment."""
    given = given_of(protocol, dataset, 0)
    return seconds_of(partial(plain_work, protocol, given, 0, device), protocol, device)


def plain_work(
    protocol: Incremental, given: Given, seed: int, device: torch.device, steps: int | None = None
) -> float:
    """The work of plain training with memory in all tasks, told from a stretch of `steps`."""
    size, rows = protocol.budget.batch_size, plain_rows(protocol, given)
    at_once = len(portions(len(given.train), size)) * protocol.budget.epochs
    budgets = map(protocol.budget_of, range(len(rows)))
    taken = sum(
        len(portions(n, budget.batch_size)) * budget.epochs * budget.batch_size / size
        for n, budget in zip(rows, budgets, strict=True)
    )
    return time_plain(protocol, given.parts, seed, device, steps) * taken / at_once


def given_of(protocol: Incremental, dataset: Dataset, seed: int) -> Given:
    """What a cell may see as it trains."""
    rows = arriving(protocol, dataset, seed)
    parts = rows.parts
    return Given(parts.train, None, parts.class_counts, len(parts.class_counts), rows.known)


def divide(
    protocol: Incremental, seed: int, dataset: Dataset, needs: frozenset[str] = frozenset()
) -> Divided:
    """The data of a cell: rows to train on, test inputs to be asked, and labels to mark with.

    Every test row is asked once for each task, those of classes to come too, so that none is told
    by being asked. `Asked.groups` say after which task.
    """
    rows = arriving(protocol, dataset, seed)
    parts, known = rows.parts, rows.known
    test = cache(parts.test)
    paper = cache(lambda: asked(after_each(test(), len(known)), seed, groups=True))

    def mark(answer: Answer) -> Outcome:
        place, number = paper()[1], (len(known), len(test()))
        predicted = answer.predicted[place].view(number)
        scores = answer.scores[place].view(*number, -1)[-1]
        measures, arrays = score(protocol, parts, known, test().labels, scores, predicted)
        kept = float(answer.told.get("kept_floats", -1))
        if not kept >= 0:
            raise LTBenchError(f"a cell cannot keep {kept} floats")
        labels = arrays["labels"].astype(np.int64)
        of_tasks, _ = task_accuracies(labels, predicted.numpy(), known)
        starts = [0, *known[:-1]]
        return Outcome(
            measures={**measures, "kept_floats": kept},
            timing=answer.timing,
            recall=recalls_of(labels, predicted[-1].numpy(), len(rows.order)),
            class_counts=parts.class_counts,
            arrays=arrays,
            notes=answer.notes,
            details=OfTasks(
                [rows.order[start:end] for start, end in zip(starts, known, strict=True)],
                [[None if np.isnan(one) else float(one) for one in row] for row in of_tasks],
            ),
            control=PAST_ROWS in needs,
        )

    given = Given(parts.train, None, parts.class_counts, len(rows.order), known)
    return Divided(given, lambda: paper()[0], mark, given.classes)


def after_each(test: Rows, tasks: int) -> Rows:
    """Test rows once for each task, whose number is their group."""
    times = [tasks] + [1] * (test.inputs.dim() - 1)
    groups = torch.arange(tasks).repeat_interleave(len(test))
    return Rows(test.inputs.repeat(times), test.labels.repeat(tasks), groups=groups)


def answer(
    protocol: Incremental,
    recipe: Recipe,
    seed: int,
    given: Given,
    ask: Callable[[], Asked],
    device: torch.device,
) -> Answer:
    """Trains on what was given, then says what test rows are by the network of each task's end."""
    refuse_unmet(protocol, recipe, given.classes)
    plain = partial(plain_work, protocol, given, seed, device)
    plain(WARM_UP_STEPS)
    before = plain()
    with Clock(device) as clock:
        learned = learn(protocol, recipe, seed, given, device)
    reference = (before + plain()) / 2
    test = ask()
    assert test.groups is not None
    inputs = test.inputs.to(device)
    scores = torch.full((len(inputs), given.classes), LEAST, dtype=torch.float64)
    predicted = torch.zeros(len(inputs), dtype=torch.long)
    for task, (known, one) in enumerate(zip(given.beside, learned.networks, strict=True)):
        where = (test.groups == task).nonzero()[:, 0]
        told, decided = answered(one.method, one.model, inputs, where.to(device), one.run)
        scores[where, :known] = told.double().cpu()
        predicted[where] = decided.cpu()
    rows = plain_rows(protocol, given)
    passes = sum(n * protocol.budget_of(task).epochs for task, n in enumerate(rows))
    return Answer(
        scores=scores,
        predicted=predicted,
        timing=timed(clock, reference, learned.passes / passes),
        notes=learned.notes,
        told={"kept_floats": learned.kept_floats},
    )


def score(
    protocol: Incremental,
    parts: Parts,
    known: tuple[int, ...],
    labels: Tensor,
    scores: Tensor,
    predicted: Tensor,
) -> tuple[Scores, Arrays]:
    """Every measure of what was said of test rows after each task [T, N], and what is kept of it.

    `scores` [N, C] are those after the last one.
    """
    of_rows, last = classification.score(protocol, parts, labels, scores, predicted[-1])
    told = scored_tasks(last.labels, predicted.numpy(), known)
    kept = last.arrays(len(parts.class_counts))
    earlier = predicted[:-1].numpy().astype(kept["predicted"].dtype)
    return (
        {**told, **{name: of_rows[name] for name in OF_CLASSES}},
        {**kept, "earlier": earlier},
    )


def measured(protocol: Incremental, record: Record, arrays: Arrays, details: OfTasks) -> Followed:
    """Every measure that follows from what a record keeps of its test rows."""
    labels, last = (arrays[name].astype(np.int64) for name in ("labels", "predicted"))
    predicted = np.concatenate([arrays["earlier"].astype(np.int64), last[None]])
    known = np.cumsum([len(classes) for classes in details.classes]).tolist()
    told = scored_tasks(labels, predicted, known)
    of_rows = classification.measured(protocol, record, (labels, last[None]), arrays)
    return {
        **{name: around(value, EXACT) for name, value in told.items()},
        **{
            name: value
            for name, value in of_rows.items()
            if name in OF_CLASSES or name.startswith("recall ")
        },
    }


def refuse_unmet(protocol: Incremental, recipe: Recipe, num_classes: int) -> None:
    """Refuses, by name, what the track would pass over in silence.

    Raises:
        Unmet: a need is not met, or a method acts on another kind of model.
    """
    refuse_foreign(protocol, recipe)
    refuse_adapting(protocol, recipe)
    refuse_needs(protocol, recipe, SUPPLIES | ({"two_classes"} if num_classes == 2 else set()))


run = undivided(divide, answer)
