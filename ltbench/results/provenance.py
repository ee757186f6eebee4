"""Which code and machine made records, and which of them may stand on one board."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from ltbench.errors import LTBenchError
from ltbench.results.records import Origin, Record

Methods = tuple[tuple[str, Origin], ...]

Now = Callable[[str], Origin | None]
"""The code of a method as it is here now, by its name; None where there is no such method."""


class Made(Struct, frozen=True):
    """What decided the bits of records; None where they do not tell.

    `code` is the benchmark's own that a cell uses, `methods` the origin of each method.
    """

    code: str | None = None
    device: str | None = None
    torch: str | None = None
    processor: str | None = None
    methods: Methods = ()


SAID = {
    "code": "ltbench's own code",
    "device": "device",
    "torch": "torch",
    "processor": "processor",
}
APART = ("code", "device")
"""What must not differ on one board, unless that is asked for."""


def made(record: Record) -> Made:
    told = record.environment
    device = told.get("device") or ("cuda" if told.get("gpu") else "cpu" if "cpu" in told else None)
    kind = [str(told[key]) for key in ("instructions", "processor", "system") if told.get(key)]
    origins = tuple(sorted(record.plugins.items(), key=lambda pair: pair[0]))
    torch = told.get("torch")
    return Made(
        told.get("code") or None,
        device,
        None if torch is None else str(torch),
        "; ".join(kind) or None,
        origins,
    )


@dataclass(frozen=True)
class Provenance:
    """Which records of a board count [N], and what is to be said of where they come from."""

    kept: NDArray[np.bool_]
    notes: list[str] = field(default_factory=list)


def nobody(method: str) -> Origin | None:
    """No method is known here."""
    return None


def sorted_out(
    makers: list[Made],
    maker: NDArray[np.int64],
    recipes: list[str],
    recipe: NDArray[np.int64],
    now: Now = nobody,
    mixed: bool = False,
) -> Provenance:
    """Leaves out seeds of older code of a method, and refuses what must not stand on one board.

    `maker` [N] and `recipe` [N] are places in `makers` and `recipes`. With `mixed` all records
    count, and the notes tell.

    Raises:
        LTBenchError: ltbench's own code, the device, or the code of a method differ.
    """
    kept, notes = np.ones(len(maker), dtype=bool), []
    pair = recipe * len(makers) + maker
    cells = np.bincount(pair, minlength=len(recipes) * len(makers))
    for row, (text, own) in enumerate(
        zip(recipes, cells.reshape(len(recipes), len(makers)), strict=True)
    ):
        several = np.flatnonzero(own).tolist()
        if len(several) < 2:
            continue
        counted: Counter[Methods] = Counter()
        for k in several:
            counted[makers[k].methods] += int(own[k])
        methods = ", ".join(sorted(_differing(counted)))
        if not methods:
            continue
        if mixed:
            notes.append(f"{text}: its records are of several codes of {methods}")
            continue
        chosen, age = _chosen(counted, now)
        alike = np.array([_same(one.methods, chosen) for one in makers])
        left = (recipe == row) & ~alike[maker]
        kept &= ~left
        many = int(left.sum())
        what = f"{many} record{'s' * (many > 1)} of {age} code of {methods} left out"
        notes.append(f"{text}: {what}; ltbench run makes them again")
    counts = np.bincount(maker[kept], minlength=len(makers)).tolist()
    there = [(one, n) for one, n in zip(makers, counts, strict=True) if n]
    if not mixed:
        _refuse(there)
    elif methods := ", ".join(sorted(_differing(one.methods for one, _ in there))):
        notes.append(f"rows are of several codes of {methods}")
    return Provenance(kept, [*notes, *_told(there)])


def _chosen(counted: Mapping[Methods, int], now: Now) -> tuple[dict[str, Origin], str]:
    """The code that is here now, if some records are of it; else that of most records.

    Says too what the others are beside it.
    """
    here = {name: now(name) for methods in counted for name, _ in methods}
    known = {name: origin for name, origin in here.items() if origin is not None}
    if len(known) == len(here) and any(_same(methods, known) for methods in counted):
        return known, "older"
    most, _ = min(counted.items(), key=lambda pair: (-pair[1], str(pair[0])))
    return dict(most), "other"


def _same(methods: Iterable[tuple[str, Origin]], now: Mapping[str, Origin]) -> bool:
    return all(name in now and _alike(origin, now[name]) for name, origin in methods)


def _alike(one: Origin, other: Origin) -> bool:
    """Whether two origins are of one code, as far as both tell."""
    return one.made_by(other) or other.made_by(one)


def _differing(every: Iterable[Iterable[tuple[str, Origin]]]) -> Iterator[str]:
    """The methods of which some records are of other code than others."""
    known: dict[str, set[Origin]] = {}
    for methods in every:
        for name, origin in methods:
            known.setdefault(name, set()).add(origin)
    for name, origins in known.items():
        several = sorted(origins, key=repr)
        if any(not _alike(one, other) for one in several for other in several):
            yield name


def _refuse(there: list[tuple[Made, int]]) -> None:
    for name in APART:
        told = {getattr(one, name) for one, _ in there} - {None}
        if len(told) > 1:
            raise LTBenchError(
                f"records differ in {SAID[name]} ({' and '.join(sorted(told))}), and their numbers "
                "are not put together unasked: make them again with --fresh, or say --mixed"
            )
    for name in sorted(_differing(one.methods for one, _ in there)):
        raise LTBenchError(
            f"rows differ in the code of {name}, and their numbers are not put together unasked: "
            f"run again all recipes with {name}, or say --mixed"
        )


def _told(there: list[tuple[Made, int]]) -> list[str]:
    """A line on whatever differs among records, or is told by some of them alone."""
    parts = []
    for name, said in SAID.items():
        counts: Counter[str] = Counter()
        for one, n in there:
            counts[getattr(one, name) or "not told"] += n
        if len(counts) > 1:
            several = ", ".join(f"{value} ({n})" for value, n in sorted(counts.items()))
            parts.append(f"{said}: {several}")
    return [f"records are not all of one kind: {'; '.join(parts)}"] if parts else []
