"""How a source is cut: labelled rows, test rows, and a pool out of the rest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ltbench.contract.context import Chosen, Rows
from ltbench.contract.track import Finder
from ltbench.datasets import Dataset, duplicates
from ltbench.errors import LTBenchError
from ltbench.protocols.imbalance import class_counts, shuffled_classes
from ltbench.tracks import classification
from ltbench.tracks.classification import Parts, split
from ltbench.tracks.semi.problem import Pool, Semi
from ltbench.training.engine import stream_seed

UNKNOWN = -1  # the label of a row of a class that is not among those to be told apart
NAMED = 3  # pairs of rows that a refusal names


@dataclass(frozen=True)
class Source(Dataset):
    """The rows of the known classes, and `others` that a pool has from elsewhere, with the labels
    of known classes or `UNKNOWN`. `strangers` are rows of unknown classes, and `tested` those of
    them that its test split has, if it has one.
    """

    others: Rows | None = None
    strangers: Rows | None = None
    tested: Rows | None = None


@dataclass(frozen=True)
class Cut:
    """The rows of one cell, and those of its pool with the labels that are withheld.

    `unknown` are test rows of classes that are none of the known ones.
    """

    parts: Parts
    pool: Rows
    unknown: Rows | None = None


def load(registry: Finder, protocol: Semi) -> dict[str, Dataset]:
    """The protocol's one data set, with what its pool takes from elsewhere.

    Raises:
        LTBenchError: it cannot be had, or fewer than two classes are known.
    """
    (whole,) = classification.load(registry, protocol).values()
    known = [name for name in whole.classes if name not in protocol.pool.unknown]
    missing = [name for name in protocol.pool.unknown if name not in whole.classes]
    if missing:
        raise LTBenchError(
            f"{protocol.name}: {protocol.data.source} has no class {missing[0]!r}, which the pool "
            f"names as unknown; it has {', '.join(whole.classes)}"
        )
    if len(known) < 2:
        raise LTBenchError(
            f"{protocol.name}: {len(protocol.pool.unknown)} unknown classes of "
            f"{len(whole.classes)} leave {len(known)} known; leave two or more to tell apart"
        )
    pool, here = protocol.pool, whole
    strangers: tuple[Rows | None, Rows | None] = (None, None)
    others = None if pool.source is None else _elsewhere(registry, pool, whole)
    if pool.unknown:
        apart = torch.tensor([name in pool.unknown for name in whole.classes])
        here = whole.of_classes(known)
        strangers = _of(whole.train, apart), _of(whole.test, apart)
    kept = here.train, here.classes, here.test, whole.fingerprint, whole.notes
    return {"": Source(*kept, others, *strangers)}


def _of(rows: Rows | None, apart: Tensor) -> Rows | None:
    """The rows of those classes [C], without their labels."""
    if rows is None:
        return None
    some = rows[apart[rows.labels]]
    return replace(some, labels=torch.full_like(some.labels, UNKNOWN))


def _elsewhere(registry: Finder, pool: Pool, known: Dataset) -> Rows:
    """All training rows of another source; classes of one name are one."""
    assert pool.source is not None
    found: Dataset = registry.dataset(pool.source)()
    if pool.fingerprint not in ("any", found.fingerprint):
        raise LTBenchError(
            f"pool {pool.source} has fingerprint {found.fingerprint}, but the protocol is fixed to "
            f"{pool.fingerprint}; these are other rows"
        )
    if not len(found.train):
        raise LTBenchError(f"pool {pool.source} has no rows; a pool of none teaches nothing")
    here, there = known.train.inputs_at(torch.arange(1)), found.train.inputs_at(torch.arange(1))
    if (here.shape, here.dtype) != (there.shape, there.dtype):
        raise LTBenchError(
            f"a row of pool {pool.source} is {there.dtype} {list(there.shape[1:])}, but labelled "
            f"rows are {here.dtype} {list(here.shape[1:])}; a network takes one kind"
        )
    places = {name: place for place, name in enumerate(known.classes)}
    numbers = torch.tensor([places.get(name, UNKNOWN) for name in found.classes])
    return replace(found.train, labels=numbers[found.train.labels])


def profile(pool: Pool, classes: int) -> list[int]:
    """The rows of each class [C] of a pool, from the largest labelled class to the smallest."""
    assert pool.n_max is not None
    if pool.profile == "uniform":
        return [pool.n_max] * classes
    falling = class_counts("exponential", pool.n_max, pool.factor, classes)
    if pool.profile == "consistent":
        return falling
    if pool.profile == "reversed":
        return falling[::-1]
    middle = (classes - 1) / 2
    inwards = sorted(range(classes), key=lambda rank: (abs(rank - middle), rank))
    order = inwards if pool.profile == "middle" else inwards[::-1]
    return [rows for _, rows in sorted(zip(order, falling, strict=True))]


def cut(protocol: Semi, dataset: Dataset, seed: int) -> Cut:
    """Cuts the data into labelled rows, test rows and the pool, which has no row of either.

    A row of the pool stands where chance puts it, so that its place tells nothing.

    Raises:
        LTBenchError: the data have too few rows, or a labelled row stands in the pool as well.
    """
    parts, unknown = split(protocol, dataset, seed), None
    rows = _rest(protocol, dataset, seed, parts)
    if isinstance(dataset, Source) and dataset.strangers is not None:
        some, unknown = _strangers(protocol, dataset.strangers, dataset.tested, seed)
        rows = rows if protocol.pool.source is not None else _joined(rows, some)
    pool = rows[torch.randperm(len(rows), generator=_chance(seed, "pool order"))]
    if protocol.pool.source is not None:
        refuse_overlap(protocol.pool, parts.train, pool)
    return Cut(parts, pool, unknown)


def _rest(protocol: Semi, dataset: Dataset, seed: int, parts: Parts) -> Rows:
    """The pool's rows, class after class."""
    pool, others = protocol.pool, dataset.others if isinstance(dataset, Source) else None
    if pool.profile == "source":
        assert others is not None
        return others
    imbalance, data = protocol.imbalance, protocol.data
    classes = len(dataset.classes)
    labels = dataset.train.labels.numpy()
    lists = shuffled_classes(labels, classes, seed if imbalance.draw == "seed" else 0)
    counts = np.array(profile(pool, classes))
    if imbalance.class_order == "seed":
        counts = counts[np.random.RandomState(seed).permutation(classes)]
    aside = [0] * classes
    if parts.validation is not None:
        aside = parts.validation.labels.bincount(minlength=classes).tolist()
    chosen, tested = [], data.test_per_class or 0
    for c, (there, wanted) in enumerate(zip(lists, counts, strict=True)):
        taken = parts.class_counts[c] + aside[c]
        left = len(there) - tested - taken
        if left < wanted:
            raise LTBenchError(
                f"class {dataset.classes[c]} of {data.source} has {left} rows beside those that "
                f"are labelled and tested on; the pool of {protocol.name} asks for {wanted}"
            )
        chosen.append(there[taken : taken + wanted])
    return Chosen.out_of(dataset.train, torch.from_numpy(np.concatenate(chosen)))


def _strangers(
    protocol: Semi, strangers: Rows, tested: Rows | None, seed: int
) -> tuple[Rows, Rows]:
    """Rows of unknown classes for the pool, drawn by the seed, and those that are tested.

    Of a source without a test split as many are tested as of as many known classes, in every seed
    the same.
    """
    pool, first = protocol.pool, 0
    if tested is None:
        first = len(pool.unknown) * (protocol.data.test_per_class or 0)
        strangers = strangers[torch.randperm(len(strangers), generator=_chance(0, "tested"))]
        tested = strangers[torch.arange(min(first, len(strangers)))]
    if len(strangers) - first < pool.unknown_rows:
        raise LTBenchError(
            f"the unknown classes have {max(0, len(strangers) - first)} rows beside those that are "
            f"tested; the pool asks for {pool.unknown_rows}"
        )
    order = torch.randperm(len(strangers) - first, generator=_chance(seed, "unknown rows"))
    return strangers[first + order[: pool.unknown_rows]], tested


def _chance(seed: int, stream: str) -> torch.Generator:
    return torch.Generator().manual_seed(stream_seed(seed, stream))


def _joined(known: Rows, some: Rows) -> Rows:
    every = torch.arange(len(known))
    inputs = torch.cat([known.inputs_at(every), some.inputs])
    return Rows(inputs, torch.cat([known.labels, some.labels]))


def refuse_overlap(pool: Pool, labelled: Rows, rows: Rows) -> None:
    """Refuses a pool that has labelled rows, whose labels it would not withhold.

    Raises:
        LTBenchError: some inputs are the same.
    """
    first = {key: place for place, key in enumerate(duplicates.keys_of(labelled))}
    pairs = [
        (first[key], place) for place, key in enumerate(duplicates.keys_of(rows)) if key in first
    ]
    if pairs:
        raise LTBenchError(
            f"{len(pairs)} rows of pool {pool.source} are labelled rows: {_told(pairs)}; "
            "take them out of the one or the other"
        )


def _told(pairs: Sequence[tuple[int, int]]) -> str:
    told = [f"row {there} of the pool is labelled row {here}" for here, there in pairs[:NAMED]]
    return ", ".join(told) + (" and others" if len(pairs) > NAMED else "")


def copied(rows: Rows) -> Tensor:
    """The stored inputs [M, ...] of rows, without what they were chosen from."""
    return rows.inputs_at(torch.arange(len(rows)))
