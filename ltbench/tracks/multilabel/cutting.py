"""The rows of a cell: scenes or a source with a matrix of labels, and what of them is told."""

import torch
from torch import Tensor

from ltbench.contract.context import Rows
from ltbench.contract.track import Finder
from ltbench.datasets import Dataset
from ltbench.errors import LTBenchError
from ltbench.tracks import classification
from ltbench.tracks.classification import Parts
from ltbench.tracks.multilabel.files import matrices
from ltbench.tracks.multilabel.problem import MultiLabel
from ltbench.tracks.multilabel.scenes import scenes_of
from ltbench.training.engine import stream_seed

NAMED = 3  # rows that a refusal names


def load(registry: Finder, protocol: MultiLabel) -> dict[str, Dataset]:
    """The protocol's one data set.

    Raises:
        LTBenchError: it cannot be had, or is not as declared.
    """
    if protocol.scenes is not None:
        return classification.load(registry, protocol)
    return {"": matrices(registry, protocol.data.source, protocol.data.size)}


def cut(protocol: MultiLabel, dataset: Dataset, seed: int) -> Parts:
    """The rows of a cell; `class_counts` are positives to train on, with those that are missing.

    Raises:
        LTBenchError: the data are not the protocol's, or cannot be learned from.
    """
    data = protocol.data
    if data.fingerprint not in ("any", dataset.fingerprint):
        raise LTBenchError(
            f"data set {data.source} has fingerprint {dataset.fingerprint}, "
            f"but {protocol.name} is fixed to {data.fingerprint}"
        )
    if protocol.scenes is not None:
        if (dataset.test is None) == (data.test_per_class is None):
            has = "no test split" if dataset.test is None else "a test split of its own"
            raise LTBenchError(f"{protocol.name}: {data.source} has {has}; mend test_per_class")
        train, test = scenes_of(protocol, dataset, seed)
    else:
        if dataset.test is None:
            raise LTBenchError(f"{data.source} has no test split, which {protocol.name} needs")
        train, test = dataset.train, dataset.test
    for where, rows in (("training", train), ("test", test)):
        refuse_labels(f"{data.source}", rows.labels, dataset.classes, where)
    told = with_missing(train.labels, protocol.missing, seed)
    counts = [int(count) for count in train.labels.sum(dim=0)]
    return Parts(Rows(train.inputs, told), None, lambda: test, counts)


def refuse_labels(source: str, labels: Tensor, classes: tuple[str, ...], where: str) -> None:
    """Refuses what is no matrix of labels, and to train on a row or a class without any.

    Raises:
        LTBenchError: it names the first rows, or the class.
    """
    if labels.dim() != 2 or labels.shape[1] != len(classes):
        raise LTBenchError(
            f"labels of {where} rows of {source} are {list(labels.shape)}, no matrix with a "
            f"column for each of {len(classes)} classes"
        )
    wrong = ((labels != 0) & (labels != 1)).nonzero()
    if len(wrong):
        row, column = wrong[0].tolist()
        raise LTBenchError(
            f"{where} row {row} of {source} has {labels[row, column].item():g} for class "
            f"{classes[column]}; a label is 1, or 0 where it is absent ({len(wrong)} are neither)"
        )
    if where == "test":
        return
    bare = (labels.sum(dim=1) == 0).nonzero()[:, 0].tolist()
    if bare:
        told = ", ".join(map(str, bare[:NAMED])) + (" and others" if len(bare) > NAMED else "")
        raise LTBenchError(
            f"{len(bare)} training rows of {source} have no label at all (rows {told}); leave them "
            "out, or mark what they show"
        )
    for column in (labels.sum(dim=0) == 0).nonzero()[:, 0].tolist():
        raise LTBenchError(f"class {classes[column]} of {source} has no training rows")


def with_missing(labels: Tensor, share: float, seed: int) -> Tensor:
    """Labels [N, C] of which a share of the positive ones is told as absent, by chance.

    A row that would lose all keeps one by chance, and so does a class (our choice).
    """
    if not share:
        return labels
    chance = torch.Generator().manual_seed(stream_seed(seed, "missing"))
    luck = torch.rand(labels.shape, generator=chance) * labels  # 0 where there is none to lose
    kept = labels * (luck >= share)
    for dim in (1, 0):
        most = luck == luck.max(dim=dim, keepdim=True).values
        bare = kept.sum(dim=dim, keepdim=True) == 0
        kept = torch.where(bare & most & (luck > 0), 1.0, kept)
    return kept


def without_positives(labels: Tensor, classes: tuple[str, ...]) -> list[str]:
    """The classes that no row has."""
    return [name for name, count in zip(classes, labels.sum(dim=0), strict=True) if not count]
