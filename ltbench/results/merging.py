"""Records of several results folders brought together; what disagrees stays where it is."""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ltbench.errors import LTBenchError
from ltbench.results import records
from ltbench.results.records import Record, Rejected, place_of, same_code

SAME = ("version", "hash", "fingerprint", "parameters", "measures", "recall")
FINISHED = ("ok", "skipped")


@dataclass(frozen=True)
class Merged:
    """How many records were taken, and how many were there already."""

    taken: int
    known: int


def merge(folders: Sequence[Path], into: Path) -> Merged:
    """Copies the records of `folders`, with their arrays, to `into`.

    A cell that several folders hold must have one outcome, time and machine aside; then the first
    counts. A cell that was not finished gives way to one that was. Nothing is copied unless all
    can be.

    Raises:
        LTBenchError: a folder holds no records, a file there is none, or two disagree.
    """
    chosen: dict[Path, tuple[Path, Record]] = {}
    for folder in [into, *folders]:
        found = list(_records(folder))
        if not found and folder != into:
            raise LTBenchError(f"{folder} holds no records; name the folder that --results named")
        for record in found:
            if isinstance(record, Rejected):
                raise LTBenchError(str(record))
            place = place_of(into, record)
            if place not in chosen or _gives_way(chosen[place], (folder, record)):
                chosen[place] = (folder, record)
    taken = [pair for pair in chosen.values() if pair[0] != into]
    for folder, record in taken:
        if record.arrays:
            records.arrays_of(folder, record)  # they are there, and the right ones
    for protocol in sorted({record.protocol for _, record in taken}):
        records.require_writable(into / protocol)
    for folder, record in taken:
        _copy(folder, record, into)
    return Merged(len(taken), sum(folder == into for folder, _ in chosen.values()))


def _records(folder: Path) -> Iterable[Record | Rejected]:
    for protocol in sorted(path.parent.name for path in folder.glob("*/records")):
        yield from records.read_all(folder, protocol)


def _gives_way(first: tuple[Path, Record], second: tuple[Path, Record]) -> bool:
    """Whether the first of two outcomes of a cell gives way to the second."""
    finished = [record.status in FINISHED for _, record in (first, second)]
    if finished != [True, True]:
        return finished == [False, True]
    earlier, record = first[1], second[1]
    differing = [name for name in SAME if getattr(earlier, name) != getattr(record, name)]
    codes = earlier.plugins, record.plugins
    if not (same_code(*codes) or same_code(*codes[::-1])):
        differing.append("plugins")
    if differing:
        raise LTBenchError(
            f"{first[0]} and {second[0]} disagree on {record.protocol}, {record.recipe} seed "
            f"{record.seed}: its {differing[0]} differs; nothing was merged"
        )
    return False


def _copy(folder: Path, record: Record, into: Path) -> None:
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
