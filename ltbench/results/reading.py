"""The records of one protocol: those that count, and those that are never put together."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from ltbench.errors import LTBenchError
from ltbench.results import records
from ltbench.results.provenance import Made, Now, Provenance, nobody, sorted_out
from ltbench.results.record_arrays import Columns, columns
from ltbench.results.records import Record, Rejected


class Problem(Protocol):
    """What tells the records of one protocol from others."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def hash(self) -> str: ...
    @property
    def track(self) -> str: ...
    def counts(self, found: str) -> bool: ...


def records_of(
    problem: Problem, results: Path, now: Now = nobody, mixed: bool = False
) -> tuple[list[Record], list[Rejected]]:
    """The records of a protocol that count, and the files beside them that do not.

    `now` and `mixed` are those of `counted`.

    Raises:
        LTBenchError: some were made under another version, from other data, or are not alike.
    """
    found, rejected, _ = told_of(problem, results, now, mixed)
    return found, rejected


def told_of(
    problem: Problem, results: Path, now: Now = nobody, mixed: bool = False
) -> tuple[list[Record], list[Rejected], list[str]]:
    """The records of a protocol as `records_of` has them, with what is to be said of them."""
    every = list(records.read_all(results, problem.name, problem.track))
    found = [record for record in every if isinstance(record, Record)]
    told = columns(found)
    refuse_mixture(problem, results, told)
    provenance = counted(results / problem.name, told, now, mixed)
    kept = [record for record, kept in zip(found, provenance.kept, strict=True) if kept]
    return kept, [one for one in every if isinstance(one, Rejected)], provenance.notes


def counted(where: Path, told: Columns, now: Now = nobody, mixed: bool = False) -> Provenance:
    """Which records of a folder count, as `provenance.sorted_out` has it.

    Raises:
        LTBenchError: they are not alike, and that was not asked for.
    """
    makers: dict[Made, int] = {}
    of_kind = [makers.setdefault(kind.made, len(makers)) for kind in told.kinds]
    maker = np.array(of_kind, dtype=np.int64)[told.kind]
    try:
        return sorted_out(list(makers), maker, told.recipes, told.recipe, now, mixed)
    except LTBenchError as error:
        raise LTBenchError(f"{where}: {error}") from None


def refuse_none(
    problem: Problem, results: Path, count: int, rejected: Sequence[Rejected] = ()
) -> None:
    """Refuses a folder without records that count.

    Raises:
        LTBenchError: there are none; tells why the first that is there is none.
    """
    if count:
        return
    if rejected:
        more = f"; so are {len(rejected) - 1} more" if rejected[1:] else ""
        raise LTBenchError(f"{rejected[0]}{more}")
    where = results / problem.name
    raise LTBenchError(f"{where} holds no records; ltbench run {problem.name} makes them")


def refuse_mixture(problem: Problem, results: Path, told: Columns) -> None:
    """Refuses records that must not be put together.

    Raises:
        LTBenchError: some were made under another version, or from other data.
    """
    where = results / problem.name
    others: Counter[tuple[int, str]] = Counter()
    data: dict[str, set[str]] = {}
    counts = np.bincount(told.kind, minlength=len(told.kinds)).tolist()
    for kind, count in zip(told.kinds, counts, strict=True):
        if count and not problem.counts(kind.hash):
            others[kind.version, kind.hash] += count
        if kind.fingerprint and count:  # there is none where the data could not be had
            data.setdefault(kind.table, set()).add(kind.fingerprint)
    for (version, other), count in others.items():
        raise LTBenchError(
            f"{where} holds {count} records of {problem.name} version {version} "
            f"({other}); it is now version {problem.version} ({problem.hash}), and numbers of "
            "two protocols are never put together: move the old records away"
        )
    for table, known in data.items():
        if len(known) > 1:
            what = " ".join(filter(None, ("different data", table)))
            raise LTBenchError(
                f"{where} holds records of {what} "
                f"({' and '.join(sorted(known))}), whose numbers are never put together: "
                "move those of one away"
            )
