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
    """The rows of the known classes, and `others` that only a pool can have.

    Labels of these are those of the known classes, or `UNKNOWN`.
    """

    others: Rows | None = None


@dataclass(frozen=True)
class Cut:
    """The rows of one cell, and those of its pool with the labels that are withheld."""

    parts: Parts
    pool: Rows


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
    others = None
    if protocol.pool.source is not None:
        others = _elsewhere(registry, protocol.pool, whole)
    elif protocol.pool.unknown:
        apart = torch.tensor([name in protocol.pool.unknown for name in whole.classes])
        strangers = whole.train[apart[whole.train.labels]]
        others = replace(strangers, labels=torch.full_like(strangers.labels, UNKNOWN))
    here = whole.of_classes(known) if protocol.pool.unknown else whole
    kept = here.train, here.classes, here.test, whole.fingerprint, whole.notes
    return {"": Source(*kept, others=others)}


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
    parts = split(protocol, dataset, seed)
    rows = _rest(protocol, dataset, seed, parts)
    chance = torch.Generator().manual_seed(stream_seed(seed, "pool order"))
    pool = rows[torch.randperm(len(rows), generator=chance)]
    if protocol.pool.source is not None:
        refuse_overlap(protocol.pool, parts.train, pool)
    return Cut(parts, pool)


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
    known = Chosen.out_of(dataset.train, torch.from_numpy(np.concatenate(chosen)))
    return known if others is None else _with_strangers(pool, known, others, seed)


def _with_strangers(pool: Pool, known: Rows, others: Rows, seed: int) -> Rows:
    """The pool's known rows, then those of unknown classes, drawn by the seed."""
    if len(others) < pool.unknown_rows:
        raise LTBenchError(
            f"the unknown classes have {len(others)} rows; the pool asks for {pool.unknown_rows}"
        )
    chance = torch.Generator().manual_seed(stream_seed(seed, "unknown rows"))
    some = others[torch.randperm(len(others), generator=chance)[: pool.unknown_rows]]
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
