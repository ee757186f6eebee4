"""The bags of a cell: made or of a source, refused where they do not fit, NaN where not filled."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ltbench.contract.context import Rows
from ltbench.contract.track import Finder
from ltbench.datasets import Dataset
from ltbench.errors import LTBenchError
from ltbench.tracks import classification, holding
from ltbench.tracks.bags.files import of_source, witnesses_of
from ltbench.tracks.bags.making import as_numbers, made_of
from ltbench.tracks.bags.problem import Bags
from ltbench.tracks.classification import Parts, split


@dataclass(frozen=True)
class Cut:
    """The bags of a cell, and which instances of those to test on are witnesses [N, L], if told.

    That is for marking alone, and a function, as what it reads is the test split's.
    """

    parts: Parts
    witnesses: Callable[[], Tensor | None]


def load(registry: Finder, protocol: Bags) -> dict[str, Dataset]:
    """The protocol's one data set.

    Raises:
        LTBenchError: it cannot be had, or holds no bags.
    """
    if protocol.made is not None:
        return classification.load(registry, protocol)
    dataset = of_source(registry, protocol.data.source)
    for where, rows in (("training", dataset.train), ("test", dataset.test)):
        if rows is not None:
            refuse_bags(protocol.data.source, rows, where)
    holding.refuse_broken(
        f"data set {protocol.data.source}", holding.broken(dataset, protocol.data.holds)
    )
    return {"": dataset}


def cut(protocol: Bags, dataset: Dataset, seed: int) -> Cut:
    """The bags of a cell, whose places without an instance are NaN.

    Raises:
        LTBenchError: the data are not the protocol's, or do not fit it.
    """
    data = protocol.data
    if protocol.made is None:
        if dataset.test is None:
            raise LTBenchError(f"{data.source} has no test split, which a source of bags needs")
        parts = split(protocol, dataset, seed)
        held = None if parts.validation is None else blanked(parts.validation)
        return Cut(
            Parts(blanked(parts.train), held, lambda: blanked(parts.test()), parts.class_counts),
            lambda: witnesses_of(dataset),
        )
    if data.fingerprint not in ("any", dataset.fingerprint):
        raise LTBenchError(
            f"data set {data.source} has fingerprint {dataset.fingerprint}, "
            f"but {protocol.name} is fixed to {data.fingerprint}"
        )
    if (dataset.test is None) == (data.test_per_class is None):
        has = "no test split" if dataset.test is None else "a test split of its own"
        raise LTBenchError(f"{protocol.name}: {data.source} has {has}; mend test_per_class")
    train, test = made_of(protocol, dataset, seed)
    counts = train.rows.labels.bincount().tolist()
    parts = Parts(blanked(train.rows), None, lambda: blanked(test.rows), counts)
    return Cut(parts, lambda: test.witnesses)


def refuse_bags(source: str, rows: Rows, where: str) -> None:
    """Refuses rows that are no bags, a bag without instances, and an instance that is no number.

    What stands where a mask says that nothing does is not looked at.

    Raises:
        LTBenchError: it names the first of them.
    """
    shape = list(rows.inputs.shape)
    if len(shape) < 3:
        raise LTBenchError(
            f"{where} inputs of {source} are {shape}; bags are [N, L, ...], L places each"
        )
    mask = filled(rows)
    if list(mask.shape) != shape[:2] or mask.dtype != torch.bool:
        raise LTBenchError(
            f"the mask of {where} bags of {source} is {mask.dtype} {list(mask.shape)}, not true or "
            f"false for each of {shape[:2]} places"
        )
    empty = (~mask.any(dim=1)).nonzero()[:, 0].tolist()
    if empty:
        raise LTBenchError(
            f"{where} bag {empty[0]} of {source} has no instance ({len(empty)} such); leave it out"
        )
    wrong = (mask & ~rows.inputs.float().flatten(2).isfinite().all(dim=-1)).nonzero()
    if len(wrong):
        bag, place = wrong[0].tolist()
        raise LTBenchError(
            f"instance {place} of {where} bag {bag} of {source} holds a value that is not finite "
            f"({len(wrong)} such); mend it, or leave it out of the mask"
        )


def filled(rows: Rows) -> Tensor:
    """Which places [N, L] of bags hold an instance: all, where no mask says."""
    if rows.mask is not None:
        return rows.mask
    return torch.ones(rows.inputs.shape[:2], dtype=torch.bool)


def blanked(rows: Rows) -> Rows:
    """The bags with NaN where no instance is, whatever stood there, in place of a mask."""
    inputs, mask = as_numbers(rows.inputs), filled(rows)
    places = mask.view(*mask.shape, *[1] * (inputs.dim() - 2))
    return Rows(inputs.where(places, torch.nan), rows.labels)
