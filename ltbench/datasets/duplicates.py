"""Rows that are the same as others, within a class, between classes or between splits."""

import hashlib
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ltbench.contract.context import Rows


def keys_of(rows: "Rows") -> Iterator[bytes]:
    """A key for each row, alike for rows of the same inputs."""
    for part in rows.portions():
        for row in part:
            yield hashlib.sha256(row.contiguous().numpy().tobytes()).digest()


def between_classes(keys: Iterable[Hashable], labels: Sequence[int]) -> list[tuple[int, int]]:
    """The positions of rows that are the same as one of another class, each with the first such."""
    first: dict[Hashable, dict[int, int]] = {}
    found = []
    for row, (key, label) in enumerate(zip(keys, labels, strict=True)):
        there = first.setdefault(key, {})
        others = [place for other, place in there.items() if other != label]
        found += [(others[0], row)] if others else []
        there.setdefault(label, row)
    return found


def told(found: Sequence[tuple[int, int]], classes: Sequence[str], labels: Sequence[int]) -> str:
    """How many rows stand in two classes, and the first ones."""
    if not found:
        return "none"
    first, second = found[0]
    names = " and ".join(classes[labels[row]] for row in found[0])
    return f"{len(found)}; the first are rows {first} and {second}, of {names}"
