"""Semi: train a network on few labelled rows and a pool without labels, score it on the test split.

The labels of the pool stay with those of test rows: they mark what the network says of the pool
after training, and reach the process of a recipe only where it is a bound that is told them.
"""

from collections.abc import Callable, Set
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ltbench.contract.context import Rows, Run
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
from ltbench.results.records import Record, Scores
from ltbench.scoring.metrics import recalls
from ltbench.tracks import classification, diagnostics
from ltbench.tracks.classification import (
    EXACT,
    Parts,
    recalls_of,
    refuse_adapting,
    refuse_foreign,
    refuse_needs,
    time_plain,
)
from ltbench.tracks.diagnostics import diagnosed
from ltbench.tracks.dividing import Given, asked
from ltbench.tracks.learning import learned
from ltbench.tracks.semi import open_set
from ltbench.tracks.semi.contract import POOL, POOL_LABELS, SemiGrants
from ltbench.tracks.semi.cutting import UNKNOWN, Cut, copied, cut
from ltbench.tracks.semi.learning import Pooled
from ltbench.tracks.semi.open_set import openness
from ltbench.tracks.semi.problem import Semi
from ltbench.training.engine import answered

SUPPLIES = frozenset({POOL, POOL_LABELS})
OPEN = ("unknown", "open_predicted")


@dataclass(frozen=True)
class Beside:
    """What a cell is given beside labelled rows: the pool's inputs, its labels to a bound, and
    whether it has rows of unknown classes and `opened` is asked."""

    pool: Tensor
    labels: Tensor | None
    opened: bool = False


def begin(protocol: Semi, parts: Parts, beside: Beside, seed: int, device: torch.device) -> Run:
    """A run at its start, that has the pool."""
    run = classification.begin(protocol, parts, seed, device)
    run.granted = SemiGrants(
        pool=beside.pool.to(device),
        ratio=protocol.pool.ratio,
        view=protocol.pool.strong,
        labels=None if beside.labels is None else beside.labels.to(device),
    )
    return run


def divide(protocol: Semi, seed: int, dataset: Dataset, needs: Set[str]) -> Divided:
    """The data of a cell: labelled rows and the pool, what is asked, and labels to mark with."""
    return of_cut(protocol, seed, cut(protocol, dataset, seed), needs, len(dataset.classes))


def of_cut(protocol: Semi, seed: int, rows: Cut, needs: Set[str], classes: int) -> Divided:
    """The same of rows that are cut. Test rows, those of unknown classes among them, and those of
    the pool are asked together."""
    parts, pool = rows.parts, copied(rows.pool)
    withheld, strangers = rows.pool.labels, rows.unknown
    test = cache(parts.test)

    @cache
    def paper() -> tuple[Asked, Tensor]:
        every = (test(), rows.pool) if strangers is None else (test(), strangers, rows.pool)
        inputs = torch.cat([copied(one) for one in every])
        return asked(Rows(inputs, torch.cat([one.labels for one in every])), seed)

    def mark(answer: Answer) -> Outcome:
        place, tested = paper()[1], len(test())
        scores, predicted = answer.scores[place], answer.predicted[place]
        scored, predictions = classification.score(
            protocol, parts, test().labels, scores[:tested], predicted[:tested]
        )
        arrays = predictions.arrays(classes)
        arrays["pool_labels"] = withheld.numpy().astype(np.int16)
        arrays["pool_predicted"] = predicted[-len(pool) :].numpy().astype(np.int16)
        if strangers is not None:
            told = {name: answer.arrays[name][place.numpy()] for name in OPEN}
            arrays |= {name: one[: -len(pool)] for name, one in told.items()}
        return Outcome(
            measures=scored
            | of_pool(arrays, classes)
            | open_set.scored(arrays, classes)
            | diagnostics.measured(protocol, answer.told),
            timing=answer.timing,
            recall=recalls_of(predictions.labels, predictions.predicted, classes),
            class_counts=parts.class_counts,
            arrays=arrays,
            notes=answer.notes,
            continued=answer.continued,
            stage=answer.stage,
            control=POOL_LABELS in needs,
        )

    labels = withheld.clone() if POOL_LABELS in needs else None
    beside = Beside(pool, labels, strangers is not None)
    given = Given(parts.train, parts.validation, parts.class_counts, classes, beside)
    return Divided(given, lambda: paper()[0], mark, classes)


def answer(
    protocol: Semi,
    recipe: Recipe,
    seed: int,
    given: Given,
    ask: Callable[[], Asked],
    device: torch.device,
) -> Answer:
    """Trains on what was given, then says what test rows and those of the pool are."""
    refuse_unmet(protocol, recipe, given.classes)
    parts = given.parts
    begins = partial(begin, protocol, parts, given.beside, seed, device)
    plain = partial(time_plain, protocol, parts, seed, device)
    pooled = Pooled(*recipe.methods, ema=protocol.ema)
    made = learned(protocol, pooled, parts, begins, plain)
    run, model = made.run, made.model

    inputs = ask().inputs.to(device)
    every = torch.arange(len(inputs), device=device)
    scores, predicted = answered(pooled, model, inputs, every, run)
    arrays: Arrays = {}
    if given.beside.opened:
        labelled = parts.train.inputs_at(torch.arange(len(parts.train))).to(device)
        unknown, decided = openness(pooled, model, labelled, inputs, run)
        arrays["unknown"] = unknown.float().cpu().numpy()
        arrays["open_predicted"] = decided.cpu().numpy().astype(np.int16)
    told = diagnosed(protocol, model, parts, inputs, run)
    return made.answer(scores, predicted, told=told, arrays=arrays)


def of_pool(arrays: Arrays, classes: int) -> Scores:
    """What the withheld labels say of the network's answers on the pool; None where they say
    nothing."""
    labels, predicted = (
        arrays[f"pool_{name}"].astype(np.int64) for name in ("labels", "predicted")
    )
    known = labels != UNKNOWN
    labels, predicted = labels[known], predicted[known]
    if not len(labels):
        return {"pool_balanced_accuracy": None, "pool_shift": None}
    recall = recalls(labels, predicted, classes)
    return {
        "pool_balanced_accuracy": float(np.nanmean(recall)),
        "pool_shift": shift(labels, predicted, classes),
    }


def shift(labels: NDArray[np.integer], predicted: NDArray[np.integer], classes: int) -> float:
    """Half the sum over classes of how far the share of answers is from the share of rows."""
    told, true = (np.bincount(one, minlength=classes) / len(labels) for one in (predicted, labels))
    return float(np.abs(told - true).sum() / 2)


def measured(protocol: Semi, record: Record, arrays: Arrays) -> Followed:
    """Every measure that follows from what a record keeps of its test rows and its pool."""
    found = arrays["labels"], np.atleast_2d(arrays["predicted"])
    classes = len(record.class_counts)
    told = of_pool(arrays, classes) | open_set.scored(arrays, classes)
    return {
        **classification.measured(protocol, record, found, arrays),
        **{name: around(value, EXACT) for name, value in told.items()},
    }


def refuse_unmet(protocol: Semi, recipe: Recipe, num_classes: int) -> None:
    """Refuses, by name, what the track would pass over in silence.

    Raises:
        Unmet: a need is not met, or a method acts on another kind of model.
    """
    refuse_foreign(protocol, recipe)
    refuse_adapting(protocol, recipe)
    refuse_needs(protocol, recipe, SUPPLIES | ({"two_classes"} if num_classes == 2 else set()))


run = undivided(divide, answer)
