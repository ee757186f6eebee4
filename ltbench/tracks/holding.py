"""What protocols declare of their data, held against them; each breach names its first rows."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ltbench.contract.context import Rows
from ltbench.datasets import Dataset
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Holds

FIRST = 3  # rows or pairs that a breach names

Digests = list[bytes]


def refuse_broken(name: str, broken: Iterable[str]) -> None:
    """Refuses data of which something is not as declared.

    Raises:
        LTBenchError: it says what, and in which rows.
    """
    told = list(broken)
    if told:
        raise LTBenchError(f"{name} is not as declared: {'; '.join(told)}")


def broken(dataset: Dataset, rules: Sequence[Holds]) -> Iterator[str]:
    """What does not hold of a data set."""
    labels = dataset.train.labels.numpy()
    for rule in rules:
        yield from of_classes(rule, labels, dataset.classes)
        for where, rows in (("training", dataset.train), ("test", dataset.test)):
            if rule.values is not None and rows is not None:
                yield from _values(rule.values, rows, where)
        if rule.unique or rule.consistent or rule.apart:
            train = _digests(dataset.train)
            yield from of_rows(rule, train, labels, "training row")
            if rule.apart and dataset.test is not None:
                yield from _shared(train, _digests(dataset.test))


def of_classes(rule: Holds, labels: NDArray[np.int64], classes: Sequence[str]) -> Iterator[str]:
    """What does not hold of classes and their rows."""
    if rule.classes and rule.classes != tuple(classes):
        yield f"its classes are {_some(classes)}, not {_some(rule.classes)}"
    counts = np.bincount(labels, minlength=len(classes))
    for name in rule.of:
        if name not in classes:
            yield f"it has no class {name}"
    if rule.rows is not None:
        least, most = rule.rows
        told = [
            f"class {name} has {count}"
            for name, count in zip(classes, counts.tolist(), strict=True)
            if (not rule.of or name in rule.of) and not least <= count <= most
        ]
        if told:
            yield f"{_some(told, FIRST)} rows, not {least} to {most}"


def of_rows(rule: Holds, digests: Digests, labels: NDArray[np.int64], called: str) -> Iterator[str]:
    """What does not hold of rows that are equal to others."""
    places: dict[bytes, list[int]] = defaultdict(list)
    for place, one in enumerate(digests):
        places[one].append(place)
    twins = [found for found in places.values() if len(found) > 1]
    if rule.unique and twins:
        pairs = [f"{called}s {found[0]} and {found[1]}" for found in twins]
        repeated = sum(len(found) - 1 for found in twins)
        yield f"{repeated} rows stand there once more ({_some(pairs, FIRST)})"
    if rule.consistent:
        unlike = [
            (found[0], next((k for k in found if labels[k] != labels[found[0]]), None))
            for found in twins
        ]
        pairs = [f"{called}s {one} and {other}" for one, other in unlike if other is not None]
        if pairs:
            yield f"{len(pairs)} inputs are of several classes ({_some(pairs, FIRST)})"


def _shared(train: Digests, test: Digests) -> Iterator[str]:
    first = {one: place for place, one in reversed([*enumerate(train)])}
    both = [(first[one], place) for place, one in enumerate(test) if one in first]
    if both:
        pairs = [f"test row {place} is training row {there}" for there, place in both]
        yield f"{len(both)} test rows are training rows ({_some(pairs, FIRST)})"


def _values(ends: tuple[float, float], rows: Rows, where: str) -> Iterator[str]:
    low, high = ends
    bad: list[int] = []
    start = 0
    for portion in rows.portions():
        flat = portion.flatten(1)
        out = ~((flat >= low) & (flat <= high)).all(dim=1)  # and so is what is no number
        bad += (start + out.nonzero()[:, 0]).tolist()
        start += len(portion)
    if bad:
        named = _some([f"{where} row {place}" for place in bad], FIRST)
        yield f"{len(bad)} {where} rows hold values beyond {low:g} to {high:g} ({named})"


def _digests(rows: Rows) -> Digests:
    """A digest of the inputs of each row."""
    return [
        hashlib.blake2b(row.tobytes(), digest_size=16).digest()
        for portion in rows.portions()
        for row in torch.as_tensor(portion).contiguous().numpy()
    ]


def _some(words: Sequence[str], most: int = 8) -> str:
    return ", ".join([*words[:most], *(["..."] if len(words) > most else [])])
