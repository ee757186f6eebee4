"""Detection: a method changes the stored scores of a detector, by which boxes are then ranked.

The detector is trained plainly, once for all recipes of a seed, or scores are a user's own. Which
boxes are kept, and which of them are right, is found out where the truth is.
"""

from collections.abc import Callable, Set
from functools import cache
from typing import Any

import msgspec
import numpy as np
import torch
from msgspec import Struct
from torch import Tensor

from ltbench.contract.context import Phase, Rows, Run
from ltbench.contract.method import Method, hooks
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
from ltbench.errors import Diverged, Unmet
from ltbench.results.records import Record
from ltbench.tracks.classification import (
    EXACT,
    Parts,
    refuse_foreign,
    time_plain,
    timed,
)
from ltbench.tracks.detection.boxes import Boxes, Floats
from ltbench.tracks.detection.contract import ACTING, LOCATIONS, DetectionGrants, Head
from ltbench.tracks.detection.cutting import Cut, Source, Told, cut
from ltbench.tracks.detection.detector import begin, detector_of, plain_of, scores_of
from ltbench.tracks.detection.problem import Detection, of_windows
from ltbench.tracks.detection.scores import average_precisions, kept, recalls, right, scored
from ltbench.tracks.dividing import Given, asked
from ltbench.training.engine import generator
from ltbench.training.timing import Clock

SUPPLIES = frozenset({LOCATIONS})
KEPT = frozenset(f"{kind}_{part}" for kind in ("found", "truth") for part in ("at", "box", "class"))
TWICE = 2  # times that plain scores are timed, before and after


class OfDetector(Struct, frozen=True):
    """What a record keeps beside its measures: a hash of the detector's weights, empty where scores
    are stored; the training pictures [C] that show each class; and whether each lies around a
    point, empty where nobody knows."""

    detector: str
    images: list[int]
    clustered: list[bool]


def divide(
    protocol: Detection, seed: int, source: Source, needs: Set[str] = frozenset()
) -> Divided:
    """The data of a cell: windows and facts to train on, what is asked, and the truth."""
    return of_cut(protocol, seed, cut(protocol, source, seed))


def of_cut(protocol: Detection, seed: int, data: Cut) -> Divided:
    """The same of data that are cut."""
    paper = cache(lambda: asked(Rows(data.asked, torch.zeros(len(data.asked))), seed))

    def mark(answer: Answer) -> Outcome:
        place = paper()[1]
        chosen = answer.predicted[place].numpy() if answer.told["decides"] else None
        chances = probabilities(answer.scores[place], data.told.head, data.classes, chosen)
        found = kept(chances, data.proposals, data.pictures, protocol.keep)
        arrays = {**arrays_of("found", found), **arrays_of("truth", data.truth)}
        images = [int(one) for one in data.told.facts.images]
        details = OfDetector(str(answer.told["detector"]), images, list(data.clustered))
        precision, recall = of_arrays(arrays, data.classes)
        missing = data.truth.counts(data.classes) == 0
        out = f"{int(missing.sum())} classes have no box of the truth and are left out of all means"
        return Outcome(
            measures=scored(
                precision, recall, images, protocol.scoring.shot_splits, data.clustered
            ),
            timing=answer.timing,
            recall=[None if np.isnan(one) else float(one) for one in recall],
            class_counts=data.counts,
            arrays=arrays,
            notes=[*answer.notes, *([out] if missing.any() else [])],
            details=details,
        )

    given = Given(data.train, None, [*data.counts, 0], data.classes, data.told)
    return Divided(given, lambda: paper()[0], mark, data.columns)


def answer(
    protocol: Detection,
    recipe: Recipe,
    seed: int,
    given: Given,
    ask: Callable[[], Asked],
    device: torch.device,
) -> Answer:
    """Has the detector score what it is asked, where it is not stored, and the recipe act on it."""
    refuse_unmet(protocol, recipe)
    run = acting(given.beside, given.classes, seed, device)
    windows, detector = None, ""
    if len(given.train):
        windows, detector = detector_of(protocol, given.parts, seed, device)
    asked_of = ask().inputs.to(device)

    def answered(method: Method) -> tuple[Tensor, Tensor]:
        logits = asked_of if windows is None else scores_of(windows, asked_of)
        scores = method.scores(logits, run)
        return scores, method.decide(scores, run)

    plain = Method()
    before = work_of(lambda: answered(plain), device)
    with torch.no_grad(), Clock(device) as clock:
        scores, predicted = answered(recipe)
    reference = (before + work_of(lambda: answered(plain), device)) / 2
    if not torch.isfinite(scores).all():
        raise Diverged(f"{recipe.text} gives scores that are not finite")
    decides = any("decide" in hooks(type(method)) for method in recipe.methods)
    return Answer(
        scores=scores.double().cpu(),
        predicted=predicted.cpu(),
        timing=timed(clock, reference, passes=0.0),
        notes=run.notes,
        told={"detector": detector, "decides": float(decides)},
    )


def work_of(does: Callable[[], Any], device: torch.device) -> float:
    """The least work of several times that the same is done."""
    found = []
    for _ in range(TWICE):
        with torch.no_grad(), Clock(device) as clock:
            does()
        found.append(clock.work)
    return max(min(found), 1e-6)


def acting(told: Told, classes: int, seed: int, device: torch.device) -> Run:
    """The run that methods see: no network, no rows, but the facts of boxes to train on.

    The background of a softmax counts as many boxes as classes have in the mean, so that what takes
    a prior off the scores leaves it where it is.
    """
    facts = told.facts
    labels = torch.from_numpy(facts.labels).to(device)
    counts = labels.bincount(minlength=classes).float()
    if told.head == "softmax":
        counts = torch.cat([counts, counts.mean()[None]])
    run = Run(
        counts=counts,
        seen=counts / counts.sum(),
        progress=torch.ones((), device=device),
        phase=Phase("main", 1, 1.0, 0.0),
        seed=seed,
        device=device,
    )
    run.rng = generator(run, "methods")
    run.granted = DetectionGrants(
        head=told.head,
        locations=torch.from_numpy(facts.locations).to(device),
        labels=labels,
        images=torch.from_numpy(facts.images).to(device),
        pictures=facts.pictures,
    )
    return run


def probabilities(scores: Tensor, head: Head, classes: int, chosen: Any = None) -> Floats:
    """The probability [P, C] of each class; of proposals whose class is `chosen` [P] of that alone,
    and of none where that is the background."""
    told = scores.softmax(dim=1)[:, :classes] if head == "softmax" else scores.sigmoid()
    found: Floats = told.numpy()
    if chosen is not None:
        found = np.where(np.arange(classes) == chosen[:, None], found, 0.0)
    return found


def arrays_of(kind: str, boxes: Boxes) -> Arrays:
    """Boxes as a record keeps them, in their order."""
    return {
        f"{kind}_at": boxes.pictures.astype(np.int32),
        f"{kind}_box": boxes.corners.astype(np.float32),
        f"{kind}_class": boxes.labels.astype(np.int16),
    }


def boxes_of(kind: str, arrays: Arrays) -> Boxes:
    """The same boxes, as measures take them."""
    return Boxes(
        arrays[f"{kind}_at"].astype(np.int64),
        arrays[f"{kind}_box"].astype(np.float64),
        arrays[f"{kind}_class"].astype(np.int64),
    )


def of_arrays(arrays: Arrays, classes: int) -> tuple[Floats, Floats]:
    """Average precision and recall [C], which follow from what a record keeps."""
    found, truth = boxes_of("found", arrays), boxes_of("truth", arrays)
    at = np.concatenate([found.pictures, truth.pictures])
    hits = right(found, truth, int(at.max()) + 1)
    total = truth.counts(classes)
    return average_precisions(hits, found.labels, total), recalls(hits, found.labels, total)


def measured(protocol: Detection, record: Record, arrays: Arrays) -> Followed:
    """Every measure, which follows from the boxes that a record keeps."""
    details = msgspec.convert(record.details, OfDetector)
    precision, recall = of_arrays(arrays, len(record.class_counts))
    splits = protocol.scoring.shot_splits
    told = scored(precision, recall, details.images, splits, details.clustered)
    told |= {f"recall {c}": None if np.isnan(one) else one for c, one in enumerate(recall)}
    return {name: around(value, EXACT) for name, value in told.items()}


def seconds(protocol: Detection, source: Source, device: torch.device) -> float:
    """About what a plain cell takes, with its share of training the detector."""
    data = cut(protocol, source, 0)
    if not len(data.train):
        return work_of(lambda: probabilities(data.asked, data.told.head, data.classes), device)
    parts = Parts(data.train, None, lambda: data.train, [*data.counts, 0])
    plain, windows = plain_of(protocol), of_windows(protocol)

    def begins(_: Any, *given: Any) -> Run:
        return begin(protocol, *given)

    work = time_plain(windows, parts, 0, device, begins=begins, plain=plain)
    return work / len(protocol.recipes)


def refuse_unmet(protocol: Detection, recipe: Recipe) -> None:
    """Refuses what the track would pass over in silence.

    Raises:
        Unmet: a need is not met, or a method acts in another hook than on scores.
    """
    refuse_foreign(protocol, recipe)
    for method in recipe.methods:
        for need in sorted(method.needs - SUPPLIES):
            raise Unmet(
                f"{protocol.name} supplies no {need}; {method.name} needs that, so this cell is "
                "skipped"
            )
        idle = [hook for hook in hooks(type(method)) if hook not in ACTING]
        if idle:
            raise Unmet(
                f"{method.name} overrides {idle[0]}, which track {protocol.track} never calls: "
                "scores are stored, and nothing is left to train"
            )


run = undivided(divide, answer)
