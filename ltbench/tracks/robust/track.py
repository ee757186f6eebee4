"""Robust: train a network on an imbalanced set, attack it on the test split, score what is right.

Cells are run whole. An attack needs the network and the labels of test rows together, so that what
marks answers elsewhere, and never sees a network, cannot serve.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch

from ltbench.contract.context import Rows, Run
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Arrays, Followed, Outcome, around
from ltbench.datasets import Dataset
from ltbench.errors import LTBenchError
from ltbench.protocols.imbalance import shuffled_classes
from ltbench.results.records import Record
from ltbench.tracks import classification, diagnostics
from ltbench.tracks.classification import (
    EXACT,
    Parts,
    recalls_of,
    refuse_adapting,
    refuse_foreign,
    refuse_needs,
    split,
    time_plain,
)
from ltbench.tracks.diagnostics import diagnosed
from ltbench.tracks.learning import learned
from ltbench.tracks.robust.contract import ATTACK, TEACHERS, RobustGrants, Threat
from ltbench.tracks.robust.problem import Robust
from ltbench.tracks.robust.scores import robust_scores, under_attack
from ltbench.tracks.robust.teachers import Teachers
from ltbench.training.engine import predict

SUPPLIES = frozenset({ATTACK, TEACHERS})
OF_ROWS = ("accuracy", "macro_f1", "expected_calibration_error")


def begin(protocol: Robust, parts: Parts, seed: int, device: torch.device) -> Run:
    """A run at its start, with the attack of the protocol and teachers for who asks."""
    run = classification.begin(protocol, parts, seed, device)
    threat = protocol.threat
    run.granted = RobustGrants(
        threat=Threat(threat.eps, threat.step, threat.steps),
        teachers=Teachers(
            lambda own: begin(protocol, parts, own, device),
            parts.train,
            protocol.budget.batch_size,
        ),
    )
    return run


def plan(protocol: Robust, sources: Mapping[str, Dataset], device: torch.device) -> None:
    """Makes sure that cells can begin.

    Raises:
        LTBenchError: the protocol does not fit its data, or these are no pixels in [0, 1].
    """
    parts = split(protocol, sources[""], 0)
    begin(protocol, parts, 0, torch.device("cpu"))
    refuse_outside(protocol, parts.train)
    if protocol.threat.rows_per_class is not None:
        tested(protocol, parts.test(), len(parts.class_counts))


def run(
    protocol: Robust, recipe: Recipe, seed: int, dataset: Dataset, device: torch.device
) -> Outcome:
    """Trains `recipe` with one seed, and scores its last epoch as it is and under attack.

    Raises:
        Unmet: the recipe needs what the protocol does not supply.
        Diverged: the loss or the scores are not finite.
        LTBenchError: the protocol does not fit the data.
    """
    refuse_unmet(protocol, recipe, len(dataset.classes))
    parts = split(protocol, dataset, seed)
    refuse_outside(protocol, parts.train)
    begins = partial(begin, protocol, parts, seed, device)
    made = learned(
        protocol, recipe, parts, begins, partial(time_plain, protocol, parts, seed, device)
    )
    timing, counts = made.timing, parts.class_counts
    made.run.granted.teachers.refuse_changed(recipe)

    test = tested(protocol, parts.test(), len(counts)).to(device)
    refuse_outside(protocol, test)
    scores, predicted = predict(recipe, made.model, test.inputs, made.run)
    eps = protocol.threat.eps
    first, every = under_attack(recipe, made.model, test.inputs, test.labels, eps, made.run)
    every &= predicted == test.labels
    told = diagnosed(protocol, made.model, parts, test.inputs, made.run)
    plain, predictions = classification.score(protocol, parts, test.labels, scores, predicted)
    arrays = predictions.arrays(len(counts))
    arrays |= {"pgd20": first.cpu().numpy(), "robust": every.cpu().numpy()}
    return Outcome(
        measures=followed(protocol, arrays, counts)
        | {name: plain[name] for name in OF_ROWS}
        | diagnostics.measured(protocol, told),
        timing=timing,
        recall=recalls_of(predictions.labels, predictions.predicted, len(counts)),
        class_counts=counts,
        arrays=arrays,
        notes=made.run.notes,
        continued=made.continued,
        stage=made.stage,
    )


def tested(protocol: Robust, rows: Rows, classes: int) -> Rows:
    """The test rows that are attacked: all, or so many of each class, in the order of classes.

    Raises:
        LTBenchError: a class has fewer.
    """
    wanted = protocol.threat.rows_per_class
    if wanted is None:
        return rows
    drawn = shuffled_classes(rows.labels.numpy(), classes, 0)
    fewest = min(map(len, drawn))
    if fewest < wanted:
        raise LTBenchError(
            f"{protocol.name} attacks {wanted} test rows of each class, but one has {fewest}; "
            "lower rows_per_class"
        )
    return rows[torch.from_numpy(np.concatenate([some[:wanted] for some in drawn]))]


def followed(protocol: Robust, arrays: Arrays, class_counts: list[int]) -> dict[str, float | None]:
    """The measures that follow from which rows are right."""
    labels = arrays["labels"].astype(np.int64)
    right = {
        "clean": arrays["predicted"] == arrays["labels"],
        "pgd20": arrays["pgd20"],
        "robust": arrays["robust"],
    }
    return robust_scores(labels, right, class_counts, protocol.scoring.shot_splits)


def measured(protocol: Robust, record: Record, arrays: Arrays) -> Followed:
    """Every measure that follows from what a record keeps of its test rows."""
    found = arrays["labels"], np.atleast_2d(arrays["predicted"])
    plain = classification.measured(protocol, record, found, arrays)
    told = followed(protocol, arrays, record.class_counts)
    return {
        **{name: around(value, EXACT) for name, value in told.items()},
        **{name: plain[name] for name in OF_ROWS},
        **{name: value for name, value in plain.items() if name.startswith("recall ")},
    }


def refuse_outside(protocol: Robust, rows: Rows) -> None:
    """Refuses rows that are no images with pixels in [0, 1], as bytes or as numbers.

    Raises:
        LTBenchError: a value lies outside, so that a ball of pixels means nothing.
    """
    for part in rows.portions():
        values = part.float() / 255 if part.dtype == torch.uint8 else part
        if not ((values >= 0) & (values <= 1)).all():
            raise LTBenchError(
                f"{protocol.data.source} has inputs from {values.min():g} to {values.max():g}; "
                f"{protocol.name} attacks pixels in [0, 1], so scale them and state mean and std"
            )


def refuse_unmet(protocol: Robust, recipe: Recipe, num_classes: int) -> None:
    """Refuses, by name, what the track would pass over in silence.

    Raises:
        Unmet: a need is not met, or a method acts on another kind of model.
    """
    refuse_foreign(protocol, recipe)
    refuse_adapting(protocol, recipe)
    refuse_needs(protocol, recipe, SUPPLIES | ({"two_classes"} if num_classes == 2 else set()))
