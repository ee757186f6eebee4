"""Records of several results folders brought together; what disagrees stays where it is."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from ltbench.errors import LTBenchError
from ltbench.results import records, studies
from ltbench.results.records import Record, Rejected, place_of, same_code
from ltbench.results.studies import Study

SAME = ("version", "fingerprint", "parameters", "recall")
FINISHED = ("ok", "skipped")

Timed = Callable[[str], Set[str]]
"""The measures of a track, by its name, in which two runs of one cell differ."""
Now = Callable[[str, str], str]
"""The hash that a protocol has now, by its name and one that it had."""


@dataclass(frozen=True)
class Merged:
    """What became of the records: those `taken`, those that were there and came again (`equal`),
    and the others that were there. `protocols` are those whose records changed.
    """

    taken: int
    equal: int
    others: int
    protocols: tuple[str, ...]


def merge(
    folders: Sequence[Path],
    into: Path,
    timed: Timed = lambda track: set(),
    now: Now = lambda protocol, known: known,
) -> Merged:
    """Copies the records of `folders`, with their arrays, to `into`, and those of tuning.

    A cell that several folders hold must have one outcome, machine, time and `timed` measures
    aside; then the first counts. A cell that was not finished gives way to one that was. Nothing is
    copied unless all can be.

    Raises:
        LTBenchError: a folder holds no records, a file there is none, or two disagree.
    """
    tuned = sorted(
        {path.relative_to(one) for one in folders for path in one.glob(f"*/{studies.FOLDER}")}
    )
    for folder in folders:
        if not (any(_records(folder)) or any((folder / place).is_dir() for place in tuned)):
            raise LTBenchError(f"{folder} holds no records; name the folder that --results named")
    parts = [
        _Part.of([folder / place for folder in folders], into / place, timed, now)
        for place in (Path(), *tuned)
    ]
    for part in parts:
        part.copy()
    changed = {record.protocol for part in parts[:1] for _, record in part.taken}
    changed |= {place.parts[0] for place, part in zip(tuned, parts[1:], strict=True) if part.taken}
    return Merged(
        sum(len(part.taken) for part in parts),
        sum(part.equal for part in parts),
        sum(part.others for part in parts),
        tuple(sorted(changed)),
    )


@dataclass(frozen=True)
class _Part:
    """What a merge does in one results folder: the records and studies to take, and the rest."""

    into: Path
    taken: list[tuple[Path, Record]]
    studies: list[Study]
    equal: int
    others: int

    @classmethod
    def of(cls, folders: Sequence[Path], into: Path, timed: Timed, now: Now) -> "_Part":
        chosen: dict[Path, tuple[Path, Record]] = {}
        drawn: dict[str, Study] = {}
        came: set[Path] = set()
        for folder in [into, *folders]:
            for record in _records(folder):
                if isinstance(record, Rejected):
                    raise LTBenchError(str(record))
                place = place_of(into, record)
                if folder != into:
                    came.add(place)
                if place not in chosen or _gives_way(chosen[place], (folder, record), timed, now):
                    chosen[place] = (folder, record)
            for study in studies.read_all(folder):
                before = drawn.get(study.recipe)
                drawn[study.recipe] = study if before is None else studies.together(before, study)
        taken = [pair for pair in chosen.values() if pair[0] != into]
        for folder, record in taken:
            if record.arrays:
                records.arrays_of(folder, record)  # they are there, and the right ones
        kept = [place for place, (folder, _) in chosen.items() if folder == into]
        equal = sum(place in came for place in kept)
        return cls(into, taken, [*drawn.values()], equal, len(kept) - equal)

    def copy(self) -> None:
        for protocol in sorted({record.protocol for _, record in self.taken}):
            records.require_writable(self.into / protocol)
        for folder, record in self.taken:
            copied(folder, record, self.into)
        for study in self.studies:
            studies.write(self.into, study)


def _records(folder: Path) -> Iterable[Record | Rejected]:
    for protocol in sorted(path.parent.name for path in folder.glob("*/records")):
        yield from records.read_all(folder, protocol)


def _gives_way(
    first: tuple[Path, Record], second: tuple[Path, Record], timed: Timed, now: Now
) -> bool:
    """Whether the first of two outcomes of a cell gives way to the second."""
    finished = [record.status in FINISHED for _, record in (first, second)]
    if finished != [True, True]:
        return finished == [False, True]
    record = second[1]
    differing = next(_differing(first[1], record, timed, now), None)
    if differing is not None:
        raise LTBenchError(
            f"{first[0]} and {second[0]} disagree on {record.protocol}, {record}: "
            f"its {differing} differs; nothing was merged"
        )
    return False


def _differing(first: Record, second: Record, timed: Timed, now: Now) -> Iterator[str]:
    """What differs in two outcomes of a cell, and must not."""
    if now(first.protocol, first.hash) != now(second.protocol, second.hash):
        yield "hash"
    yield from (name for name in SAME if getattr(first, name) != getattr(second, name))
    if first.measures != second.measures:
        held = first.measures | second.measures
        for name in sorted(held.keys() - timed(second.track)):
            if first.measures.get(name) != second.measures.get(name):
                yield f"measure {name}"
    codes = first.plugins, second.plugins
    if not (same_code(*codes) or same_code(*codes[::-1])):
        yield "code"


def copied(folder: Path, record: Record, into: Path) -> None:
    """Copies a record and its arrays, as they are, from one folder of results to another.

    Raises:
        LTBenchError: that cannot be written.
    """
    source = place_of(folder, record)
    target = place_of(into, record)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for suffix in (".npz", ".json"):  # the record comes last and stands for both
            file = source.with_suffix(suffix)
            if file.exists():
                beside = target.with_name(f".{target.stem}{suffix}.part")
                shutil.copyfile(file, beside)
                beside.replace(target.with_suffix(suffix))
    except OSError as error:
        raise LTBenchError(f"{target} cannot be written: {error.strerror}") from None
