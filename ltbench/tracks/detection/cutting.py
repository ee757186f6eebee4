"""The data of a cell: what its detector is trained on, what it is asked, and the truth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ltbench.contract.context import Rows
from ltbench.contract.track import Finder
from ltbench.datasets import Dataset
from ltbench.errors import LTBenchError
from ltbench.tracks import classification
from ltbench.tracks.detection.boxes import Boxes
from ltbench.tracks.detection.contract import Head
from ltbench.tracks.detection.files import stored_scores
from ltbench.tracks.detection.problem import Detection, of_windows
from ltbench.tracks.detection.scenes import proposals_of, rows_of, scenes_of, windows_of
from ltbench.tracks.detection.stored import Facts, Stored

Source = Dataset | Stored


@dataclass(frozen=True)
class Told:
    """What a cell is given beside windows: the head of the detector, and facts of training."""

    head: Head
    facts: Facts


@dataclass(frozen=True)
class Cut:
    """The data of one cell.

    `train` are windows for the detector, without rows where scores are stored. What is `asked`
    [P, ...] are windows or stored logits, of the boxes `proposals`. `truth` are the boxes of so
    many `pictures`, and `clustered` tells of each class whether it lies around a point, if that is
    known.
    """

    train: Rows
    told: Told
    asked: Tensor
    proposals: Boxes
    truth: Boxes
    pictures: int
    clustered: Sequence[bool]
    classes: int

    @property
    def columns(self) -> int:
        """How many scores a proposal has."""
        return self.classes + (self.told.head == "softmax")

    @property
    def counts(self) -> list[int]:
        """The boxes of each class to train on."""
        found = np.bincount(self.told.facts.labels, minlength=self.classes)
        return [int(count) for count in found]


def load(registry: Finder, protocol: Detection) -> dict[str, Source]:
    """The images of scenes, or the stored scores, of a protocol.

    Raises:
        LTBenchError: they cannot be had, or are not as declared.
    """
    if protocol.scenes is None:
        return {"": stored_scores(registry, protocol.data.source)}
    (dataset,) = classification.load(registry, of_windows(protocol)).values()
    return {"": dataset}


def cut(protocol: Detection, source: Source, seed: int) -> Cut:
    """The data of a cell of a seed; that of stored scores is none's.

    Raises:
        LTBenchError: the data are not the protocol's, or do not fit.
    """
    data = protocol.data
    if data.fingerprint not in ("any", source.fingerprint):
        raise LTBenchError(
            f"data set {data.source} has fingerprint {source.fingerprint}, "
            f"but {protocol.name} is fixed to {data.fingerprint}"
        )
    if isinstance(source, Stored):
        return of_stored(source)
    return of_scenes(protocol, source, seed)


def of_stored(stored: Stored) -> Cut:
    """The data of a cell whose scores are stored."""
    logits = torch.from_numpy(stored.logits)
    return Cut(
        train=Rows(logits[:0], torch.zeros(0, dtype=torch.int64)),
        told=Told(stored.head, stored.facts),
        asked=logits,
        proposals=stored.proposals,
        truth=stored.truth,
        pictures=len(stored.sizes),
        clustered=(),
        classes=len(stored.classes),
    )


def of_scenes(protocol: Detection, dataset: Dataset, seed: int) -> Cut:
    """The data of a cell that makes its pictures."""
    data, scenes, classes = protocol.data, protocol.scenes, len(dataset.classes)
    assert scenes is not None
    if (dataset.test is None) == (data.test_per_class is None):
        has = "no test split" if dataset.test is None else "a test split of its own"
        raise LTBenchError(f"{protocol.name}: {data.source} has {has}; mend test_per_class")
    if len(dataset.train.shape) != 3:
        raise LTBenchError(
            f"a row of {data.source} is {list(dataset.train.shape)}; scenes are made of images "
            "[C, H, W]"
        )
    train, test, law = scenes_of(protocol, dataset, seed)
    sizes = np.full((scenes.train, 2), float(scenes.side))
    boxes = train.boxes
    facts = Facts(boxes.centres(sizes), boxes.labels, boxes.images(classes), scenes.train)
    return Cut(
        train=rows_of(train, scenes, classes, seed),
        told=Told(protocol.head, facts),
        asked=windows_of(test.images, scenes).flatten(0, 1),
        proposals=proposals_of(scenes.test, scenes),
        truth=test.boxes,
        pictures=scenes.test,
        clustered=law.clustered.tolist(),
        classes=classes,
    )
