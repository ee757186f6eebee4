"""Finetuning: networks that were trained before learn an imbalanced set, scored on the test split.

The track trains the networks, upstream, on rows of their own, in which other classes are rare, or
reads weights of somebody else. A recipe goes on from the first of them, or from several, on the
rows to learn, downstream.
"""

import copy
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from msgspec import Struct, structs
from torch import nn

from ltbench.contract.context import Run
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import (
    Answer,
    Arrays,
    Asked,
    Divided,
    Finder,
    Followed,
    Outcome,
    around,
    undivided,
)
from ltbench.datasets import Dataset
from ltbench.errors import LTBenchError
from ltbench.results.records import Record
from ltbench.scoring.metrics import recalls
from ltbench.tracks import classification
from ltbench.tracks.classification import (
    EXACT,
    Parts,
    recalls_of,
    refuse_adapting,
    refuse_foreign,
    refuse_needs,
    time_plain,
)
from ltbench.tracks.dividing import Given, asked
from ltbench.tracks.finetuning import weights
from ltbench.tracks.finetuning.contract import BACKBONES, FinetuningGrants, Tuning
from ltbench.tracks.finetuning.cutting import cut
from ltbench.tracks.finetuning.problem import Finetuning
from ltbench.tracks.finetuning.scores import grouped
from ltbench.tracks.finetuning.upstream import Beside, Networks, obtained
from ltbench.tracks.kept_networks import digest
from ltbench.tracks.learning import learned
from ltbench.training.engine import answered, seeded

SUPPLIES = frozenset({BACKBONES})
LEARNED = "trained_parameters"


class OfUpstream(Struct, frozen=True):
    """What a record keeps beside its measures: the rows of each class [models, C] that upstream
    models were trained on, as far as they are known, and a hash of each."""

    counts: list[list[int]]
    networks: list[str]


@dataclass(frozen=True)
class Source(Dataset):
    """The rows, with the files of weights that the protocol names."""

    files: tuple[Path, ...] = ()


def load(registry: Finder, protocol: Finetuning) -> dict[str, Dataset]:
    """The protocol's one data set, with its files of weights.

    Raises:
        LTBenchError: one of them cannot be had.
    """
    (dataset,) = classification.load(registry, protocol).values()
    files = tuple(weights.place(one.file, registry.data) for one in protocol.pretrained)
    kept = dataset.train, dataset.classes, dataset.test, dataset.fingerprint, dataset.notes
    return {"": Source(*kept, files=files)}


def plan(protocol: Finetuning, sources: Mapping[str, Dataset], device: torch.device) -> None:
    """Makes sure that cells can begin.

    Raises:
        LTBenchError: the protocol does not fit its data, or weights do not fit its network.
    """
    dataset, cpu = sources[""], torch.device("cpu")
    parts = cut(protocol, dataset, 0).parts
    classification.begin(protocol, parts, 0, cpu)
    for pretrained in protocol.pretrained:
        if len(pretrained.counts) not in (0, len(dataset.classes)):
            raise LTBenchError(
                f"weights {pretrained.file!r} count {len(pretrained.counts)} classes, but "
                f"{protocol.data.source} has {len(dataset.classes)}"
            )
    if protocol.pretrained:
        obtained(protocol, parts, Beside((), files_of(dataset)), 0, cpu)


def files_of(dataset: Dataset) -> tuple[Path, ...]:
    """The files of weights that came with a data set."""
    return dataset.files if isinstance(dataset, Source) else ()


def seconds(protocol: Finetuning, dataset: Dataset, device: torch.device) -> float:
    """About what a plain cell takes here, with its share of the training upstream.

    Measured for a moment.
    """
    rows, upstream = cut(protocol, dataset, 0), protocol.upstream
    work = classification.seconds(protocol, dataset, device)
    if upstream is None:
        return work
    before = structs.replace(protocol, budget=upstream.budget)
    parts = Parts(rows.upstream[0], None, lambda: rows.upstream[0], rows.counts[0])
    whole = time_plain(before, parts, 0, device) * upstream.models
    if device.type == "cpu":
        whole /= protocol.compute.threads  # it is that of all threads
    return work + whole / len(protocol.recipes)


def begin(
    protocol: Finetuning, parts: Parts, networks: Networks, seed: int, device: torch.device
) -> Run:
    """A run at its start, that has the pre-trained networks, each with the same fresh head."""
    run = classification.begin(protocol, parts, seed, device)
    granted = copy.deepcopy(networks)
    for network in granted:
        with seeded(run, "head"):
            width = int(network.head.in_features)  # type: ignore[union-attr, arg-type]
            network.head = nn.Linear(width, run.num_classes).to(device)
        network.train().requires_grad_(True)
    run.granted = FinetuningGrants(networks=granted)
    run.model = copy.deepcopy(granted[0])
    return run


def divide(
    protocol: Finetuning, seed: int, dataset: Dataset, needs: Set[str] = frozenset()
) -> Divided:
    """The data of a cell: rows to learn, rows of upstream models, test inputs to be asked, and
    labels to mark with."""
    rows, classes = cut(protocol, dataset, seed), len(dataset.classes)
    parts, counts = rows.parts, rows.counts or [[*one.counts] for one in protocol.pretrained]
    test = cache(parts.test)
    paper = cache(lambda: asked(test(), seed))

    def mark(answer: Answer) -> Outcome:
        place = paper()[1]
        scored, predictions = classification.score(
            protocol, parts, test().labels, answer.scores[place], answer.predicted[place]
        )
        recall = recalls_of(predictions.labels, predictions.predicted, classes)
        details = OfUpstream(counts, str(answer.told["networks"]).split())
        groups = grouped(as_floats(recall), counts[0], parts.class_counts)
        return Outcome(
            measures=scored | groups | {LEARNED: float(answer.told[LEARNED])},
            timing=answer.timing,
            recall=recall,
            class_counts=parts.class_counts,
            arrays=predictions.arrays(classes),
            notes=answer.notes,
            details=details,
            continued=answer.continued,
            stage=answer.stage,
        )

    beside = Beside(rows.upstream, files_of(dataset))
    given = Given(parts.train, parts.validation, parts.class_counts, classes, beside)
    return Divided(given, lambda: paper()[0], mark, classes)


def answer(
    protocol: Finetuning,
    recipe: Recipe,
    seed: int,
    given: Given,
    ask: Callable[[], Asked],
    device: torch.device,
) -> Answer:
    """Goes on from the upstream models on what was given, then says what test rows are."""
    refuse_unmet(protocol, recipe, given.classes)
    parts, tuning = given.parts, Tuning(*recipe.methods)
    networks, hashes = obtained(protocol, parts, given.beside, seed, device)
    before = [digest(network) for network in networks]
    begins = partial(begin, protocol, parts, networks, seed, device)
    plain = partial(time_plain, protocol, parts, seed, device)
    made = learned(protocol, tuning, parts, begins, plain)
    if before != [digest(network) for network in networks]:
        raise LTBenchError(f"{recipe.text} changed an upstream model, which all recipes share")

    run, model = made.run, made.model
    inputs = ask().inputs.to(device)
    every = torch.arange(len(inputs), device=device)
    scores, predicted = answered(tuning, model, inputs, every, run)
    told = {"networks": " ".join(hashes), LEARNED: tuning.learning}
    return made.answer(scores, predicted, told=told)


def as_floats(recall: list[float | None]) -> np.ndarray:
    """Recalls [C] as numbers, NaN where there is none."""
    return np.array([np.nan if value is None else value for value in recall])


def measured(protocol: Finetuning, record: Record, arrays: Arrays, details: OfUpstream) -> Followed:
    """Every measure that follows from what a record keeps of its test rows."""
    found = arrays["labels"], np.atleast_2d(arrays["predicted"])
    labels, predicted = (arrays[name].astype(np.int64) for name in ("labels", "predicted"))
    recall = recalls(labels, predicted, len(record.class_counts))
    told = grouped(recall, details.counts[0], record.class_counts)
    return {
        **classification.measured(protocol, record, found, arrays),
        **{name: around(value, EXACT) for name, value in told.items()},
    }


def refuse_unmet(protocol: Finetuning, recipe: Recipe, num_classes: int) -> None:
    """Refuses, by name, what the track would pass over in silence.

    Raises:
        Unmet: a need is not met, or a method acts on another kind of model.
    """
    refuse_foreign(protocol, recipe)
    refuse_adapting(protocol, recipe)
    refuse_needs(protocol, recipe, SUPPLIES | ({"two_classes"} if num_classes == 2 else set()))


run = undivided(divide, answer)
