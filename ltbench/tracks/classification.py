"""What tracks that train a network to tell classes apart have in common: rows, clocks, scores."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ltbench import models
from ltbench.augmentation.siamese import STRATEGIES
from ltbench.augmentation.views import Views
from ltbench.contract.context import Chosen, Phase, Rows, Run
from ltbench.contract.method import Method, hooks
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Arrays, Finder, Followed, around
from ltbench.datasets import Dataset, built_in
from ltbench.errors import LTBenchError, Unmet
from ltbench.protocols.imbalance import shuffled_classes, with_label_noise
from ltbench.protocols.schema import Classification, Protocol
from ltbench.results.records import Record, Scores, Timing
from ltbench.scoring import metrics
from ltbench.tracks import holding
from ltbench.training import events
from ltbench.training.engine import generator, portions, seeded, train
from ltbench.training.timing import Clock

WARM_UP_STEPS = 10
CODES = 2**16 - 1  # into which a confidence is divided
EXACT = 1e-9  # by which a number made again may differ, whatever the order of its sums
REFERENCE_SHARE = 0.05  # of the budget's steps, timed once before training and once after


@dataclass(frozen=True)
class Parts:
    """The rows of one cell. `test` is a function: the test split is read by calling it.

    `class_counts` are those of the training rows before any of their labels were made wrong.
    """

    train: Rows
    validation: Rows | None
    test: Callable[[], Rows]
    class_counts: list[int]


@dataclass(frozen=True)
class Predictions:
    """For each test row [N] its label, the predicted one, the probability given to that, and what
    `metrics.outranking` says of it; every metric follows from these.

    Of several networks the last three are [networks, N].
    """

    labels: NDArray[np.integer]
    predicted: NDArray[np.integer]
    confidence: NDArray[np.float64]
    outranking: NDArray[np.integer]

    def arrays(self, num_classes: int) -> Arrays:
        """As they are kept: in the smallest types that hold them, the confidence in 16 bits."""
        integer = np.min_scalar_type(num_classes - 1)
        return {
            "labels": self.labels.astype(integer),
            "predicted": self.predicted.astype(integer),
            "confidence": np.round(self.confidence * CODES).astype(np.uint16),
            "outranking": self.outranking.astype(np.min_scalar_type(self.outranking.max())),
        }


def load(registry: Finder, protocol: Classification) -> dict[str, Dataset]:
    """The protocol's one data set.

    Raises:
        LTBenchError: it cannot be had, or is not as declared.
    """
    source, size = protocol.data.source, protocol.data.size
    read = registry.dataset(source)
    if size is not None and source in built_in():
        raise LTBenchError(f"{source} is read at its own size; size is for files")
    dataset = read() if size is None else read(size)
    if not isinstance(dataset, Dataset):
        raise LTBenchError(f"{source} is no data set of images or features, but a table")
    holding.refuse_broken(f"data set {source}", holding.broken(dataset, protocol.data.holds))
    return {"": dataset.of_classes(protocol.data.classes) if protocol.data.classes else dataset}


def plan(protocol: Classification, sources: Mapping[str, Dataset], device: torch.device) -> None:
    """Makes sure that cells can begin.

    Raises:
        LTBenchError: the protocol does not fit its data.
    """
    begin(protocol, split(protocol, sources[""], 0), 0, torch.device("cpu"))


def seconds(protocol: Classification, dataset: Dataset, device: torch.device) -> float:
    """About what a cell of plain training takes here, measured for a moment."""
    parts = split(protocol, dataset, 0)
    return seconds_of(partial(time_plain, protocol, parts, 0, device), protocol, device)


def seconds_of(
    plain: Callable[..., float], protocol: Classification, device: torch.device
) -> float:
    """About what a cell takes of which `plain` tells the work of plain training, of so many steps.

    That is timed twice beside each cell.
    """
    plain(WARM_UP_STEPS)
    work = plain()
    if device.type == "cpu":
        work /= protocol.compute.threads  # it is that of all threads
    return work * (1 + 2 * REFERENCE_SHARE)


def step(
    protocol: Classification, measure: str, classes: int, predictions: int = 1
) -> float | None:
    """By how much one of so many predictions a test row moves a mean over classes, if it is known.

    A source with a test split of its own is not read to tell.
    """
    rows = protocol.data.test_per_class
    if measure not in ("balanced_accuracy", "accuracy") or rows is None or not classes:
        return None
    return 1 / (classes * rows * predictions)


def refuse_foreign(protocol: Protocol, recipe: Recipe) -> None:
    """Refuses methods that act on another kind of model."""
    for method in recipe.methods:
        if "network" not in method.models:
            raise Unmet(f"{method.name} acts on estimators; {protocol.name} trains a network")


def refuse_adapting(protocol: Classification, recipe: Recipe) -> None:
    """Refuses methods that use test inputs, which a track does not give."""
    for method in recipe.methods:
        if "adapt" in hooks(type(method)):
            raise Unmet(f"{method.name} overrides adapt, which track {protocol.track} never calls")


def refuse_needs(protocol: Classification, recipe: Recipe, supplied: frozenset[str]) -> None:
    """Refuses a need that the protocol does not supply."""
    for need in sorted(recipe.all_needs - supplied):
        who = next(method.name for method in recipe.methods if need in method.needs)
        raise Unmet(
            f"{protocol.name} supplies no {need}; {who} needs that, so this cell is skipped"
        )


def split(protocol: Classification, dataset: Dataset, seed: int) -> Parts:
    """Cuts the data into its parts: test rows, training rows, and validation rows out of those.

    Raises:
        LTBenchError: the data are not the protocol's, or have too few rows for it.
    """
    data, imbalance = protocol.data, protocol.imbalance
    if data.fingerprint not in ("any", dataset.fingerprint):
        raise LTBenchError(
            f"data set {data.source} has fingerprint {dataset.fingerprint}, "
            f"but {protocol.name} is fixed to {data.fingerprint}"
        )
    if (dataset.test is None) == (data.test_per_class is None):
        has = "no test split" if dataset.test is None else "a test split of its own"
        raise LTBenchError(f"{protocol.name}: {data.source} has {has}; mend test_per_class")
    num_classes = len(dataset.classes)
    labels = dataset.train.labels.numpy()
    available = np.bincount(labels, minlength=num_classes).tolist()
    held = data.test_per_class or 0
    left = [max(rows - held, 0) for rows in available]
    counts = np.array(imbalance.class_counts(left), dtype=np.int64)
    if len(counts) != num_classes:
        raise LTBenchError(
            f"{protocol.name} counts {len(counts)} classes, but {data.source} has {num_classes}"
        )
    if imbalance.class_order == "seed":
        counts = counts[np.random.RandomState(seed).permutation(num_classes)]
    draw_seed = seed if imbalance.draw == "seed" else 0
    classes = shuffled_classes(labels, num_classes, draw_seed)
    for c, (rows, count) in enumerate(zip(classes, counts, strict=True)):
        if len(rows) < count + held:
            raise LTBenchError(
                f"class {dataset.classes[c]} of {data.source} has {len(rows)} rows; "
                f"{protocol.name} asks for {count} to train on and {held} to test on"
            )
    put_aside = [int(n * (data.validation_share or 0)) for n in counts]
    training = [rows[:n] for rows, n in zip(classes, counts, strict=True)]
    validation = [rows[len(rows) - n :] for rows, n in zip(training, put_aside, strict=True)]
    training = [rows[: len(rows) - n] for rows, n in zip(training, put_aside, strict=True)]
    for name, rows in zip(dataset.classes, training, strict=True):
        if not len(rows):
            raise LTBenchError(f"class {name} of {data.source} has no training rows")
    test = [rows[len(rows) - held :] for rows in classes]
    train = _take(dataset.train, training)
    if data.label_noise:
        noisy = with_label_noise(train.labels.numpy(), num_classes, data.label_noise, seed)
        train = Chosen.out_of(dataset.train, train.index, torch.from_numpy(noisy))
    return Parts(
        train=train,
        validation=_take(dataset.train, validation) if data.validation_share else None,
        test=lambda: dataset.test if dataset.test is not None else _take(dataset.train, test),
        class_counts=[len(rows) for rows in training],
    )


def _take(rows: Rows, classes: list[NDArray[np.int64]]) -> Chosen:
    return Chosen.out_of(rows, torch.from_numpy(np.concatenate(classes)))


def begin(
    protocol: Classification,
    parts: Parts,
    seed: int,
    device: torch.device,
    outputs: int | None = None,
) -> Run:
    """A run at its start: with the facts of the training rows and a fresh network.

    That has so many `outputs`, one a class where nothing is said.
    """
    budget = protocol.budget
    labels = parts.train.labels.to(device)
    counts = labels.bincount(minlength=len(parts.class_counts)).to(torch.float32)
    run = Run(
        counts=counts,
        seen=counts / counts.sum(),
        progress=torch.zeros((), device=device),
        phase=Phase(
            role="main",
            epochs=budget.epochs,
            lr=budget.lr,
            weight_decay=budget.weight_decay,
            momentum=budget.momentum,
            nesterov=budget.nesterov,
            warmup=budget.warmup,
            milestones=budget.milestones,
            factors=budget.factors,
        ),
        seed=seed,
        device=device,
        views=Views(
            mean=protocol.data.mean,
            std=protocol.data.std,
            padding={"crop-flip": 4, "shift": 1}.get(budget.augmentation, 0),
            flip=budget.augmentation == "crop-flip",
            resize=budget.augmentation == "resized-crop",
            channels_last=protocol.compute.memory_format == "channels_last",
            strategy=STRATEGIES.get(budget.augmentation, ()),
        ),
        precision=getattr(torch, protocol.compute.precision),
    )
    run.rng = generator(run, "methods")
    network = dict(protocol.network)
    with seeded(run, "network"):
        model = models.build(
            network.pop("name"), parts.train.shape, outputs or run.num_classes, network
        )
    if run.views.channels_last:
        model = model.to(memory_format=torch.channels_last)
    run.model = model.to(device)
    return run


def time_plain(
    protocol: Classification,
    parts: Parts,
    seed: int,
    device: torch.device,
    steps: int | None = None,
    begins: Callable[..., Run] = begin,
    plain: Method | None = None,
) -> float:
    """The work of plain training for the whole budget, told from a stretch of `steps`.

    `begins` makes a run of these arguments but the last, `plain` is what plain training is.
    """
    batch_size, budget = protocol.budget.batch_size, protocol.budget.epochs
    whole = len(portions(len(parts.train), batch_size)) * budget
    wanted = steps or max(2 * WARM_UP_STEPS, round(REFERENCE_SHARE * whole))
    rows = parts.train[torch.arange(min(len(parts.train), wanted * batch_size))].to(device)
    an_epoch = len(portions(len(rows), batch_size))
    epochs = math.ceil(wanted / an_epoch)
    work = []
    for length in (0, epochs):
        run = begins(protocol, parts, seed, device)
        run.phase = replace(run.phase, epochs=length)
        with events.heard_by(None), Clock(device) as clock:
            train(plain or Method(), rows, run, batch_size)
        work.append(clock.work)
    before, stretch = work
    return before + (stretch - before) * whole / (epochs * an_epoch)


def score(
    protocol: Classification, parts: Parts, labels: Tensor, scores: Tensor, predicted: Tensor
) -> tuple[Scores, Predictions]:
    """Every metric of a cell, and its predictions."""
    y, decided = labels.cpu().numpy(), predicted.cpu().numpy()
    probabilities = scores.double().softmax(dim=1).cpu().numpy()
    scored = metrics.scored(
        y, decided, probabilities, parts.class_counts, protocol.scoring.shot_splits
    )
    confidence = probabilities[np.arange(len(y)), decided]
    return scored, Predictions(y, decided, confidence, metrics.outranking(y, probabilities))


def over_networks(scored: Sequence[tuple[Scores, Predictions]]) -> tuple[Scores, Predictions]:
    """The mean of each metric over networks that were scored on the same rows, and what they say.

    A metric that the rows do not allow is None for each of them.
    """
    scores, found = zip(*scored, strict=True)
    predictions = Predictions(
        found[0].labels,
        np.stack([one.predicted for one in found]),
        np.stack([one.confidence for one in found]),
        np.stack([one.outranking for one in found]),
    )
    return {name: _mean([one[name] for one in scores]) for name in scores[0]}, predictions


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None


def recalls_of(
    labels: NDArray[np.integer], predicted: NDArray[np.integer], num_classes: int
) -> list[float | None]:
    """The recall of each class, the mean over networks; None where it has no test rows."""
    every = [metrics.recalls(labels, one, num_classes) for one in np.atleast_2d(predicted)]
    recall = np.mean(every, axis=0)
    return [None if math.isnan(value) else value for value in recall.tolist()]


def measured(
    protocol: Classification,
    record: Record,
    found: tuple[NDArray[Any], NDArray[Any]] | None,
    arrays: Arrays,
) -> Followed:
    """Every metric that follows from what a record keeps: `found` are the labels [N] of its rows
    and those that networks gave them [networks, N].

    A confidence is kept in few bits, so that one at the border of a bin may count in the next.
    Older records do not tell what ranked above each row.
    """
    if found is None or "confidence" not in arrays:
        return {}
    labels, every = found[0].astype(np.int64), found[1].astype(np.int64)
    kept, above = arrays["confidence"].reshape(every.shape), arrays.get("outranking")
    coded = kept.dtype == np.uint16
    sure = kept / CODES if coded else kept.astype(np.float64)
    counts, borders = record.class_counts, protocol.scoring.shot_splits
    ranked = np.zeros_like(every) if above is None else above.reshape(every.shape)
    scores = [
        metrics.of_decisions(labels, *one, counts, borders)
        for one in zip(every, sure, ranked, strict=True)
    ]
    within = 0.5 / CODES if coded else 1e-7
    near = max(metrics.near_borders(one, within) for one in sure)
    slack = dict.fromkeys(scores[0], EXACT)
    slack["expected_calibration_error"] = within + EXACT + 2 * near / len(labels)
    if above is None:
        del slack["macro_auc"]
    means = {name: _mean([one[name] for one in scores]) for name in slack}
    return {
        **{name: around(mean, slack[name]) for name, mean in means.items()},
        **{
            f"recall {c}": around(recall, EXACT)
            for c, recall in enumerate(recalls_of(labels, every, len(counts)))
        },
    }


def timed(
    clock: Clock, reference_work: float, passes: float, seconds: float = 0.0, work: float = 0.0
) -> Timing:
    """What a cell cost: what a clock read, with `seconds` and `work` owed for what others did.

    Raises:
        LTBenchError: plain training took no time, or the cell less than none.
    """
    work += clock.work
    if not (reference_work > 0 and work >= 0):
        raise LTBenchError(
            f"work of {work:g} s against {reference_work:g} s of plain training is no cost; one "
            "clock or the other was stopped"
        )
    return Timing(
        seconds=round(clock.seconds + seconds, 6),
        work=round(work, 6),
        reference_work=round(reference_work, 6),
        relative=round(work / reference_work, 4),
        passes=round(passes, 4),
        peak_memory_mb=round(clock.peak_memory_mb, 3),
    )
