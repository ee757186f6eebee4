"""An index of records on disk, beside the records, which alone are the truth."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from ltbench.errors import LTBenchError
from ltbench.results import records
from ltbench.results.record_arrays import COSTS, Columns, Kind, columns, joined, taken
from ltbench.results.records import Record, Rejected

INDEXED_FROM = 1000  # records of one recipe; fewer are read quickly enough
SETTLED = 2.0  # seconds after which any change of a folder shows in its time

Files = dict[str, tuple[int, int]]
"""The time and the size of each file of a folder."""


class Head(Struct, frozen=True):
    """What stands before the arrays: what their columns are, the time of the folder, 0 where that
    does not tell enough, and what the arrays have numbers for."""

    keys: list[str]
    time: int
    recipes: list[str]
    kinds: list[Kind]


def read(
    results: Path, protocol: str, names: tuple[str, ...], track: str = ""
) -> tuple[Columns, list[Rejected]]:
    """The records of a protocol as columns, and the files beside them that do not count.

    The columns hold the measures of some names.

    Where a recipe has very many, an index is kept and only new ones are read. A record that was
    written over in place, as `ltbench` never does, is not noticed then.
    """
    parts, rejected = [columns([], names)], []
    for folder in sorted((results / protocol / "records").glob("*/")):
        index = results / protocol / "index" / folder.name
        part, bad = _of_folder(folder, index, protocol, names, track)
        parts.append(part)
        rejected += bad
    return joined(parts), rejected


def _of_folder(
    folder: Path, index: Path, protocol: str, names: tuple[str, ...], track: str
) -> tuple[Columns, list[Rejected]]:
    now, kept, before = folder.stat().st_mtime_ns, _load(index, names), Files()
    if kept is not None and kept.head.time == now:
        return kept.part, []
    files = dict(_files(folder))
    if kept is not None:
        before = kept.files()
    there = [n for n, (name, told) in enumerate(before.items()) if files.get(name) == told]
    known = {name: told for name, told in before.items() if files.get(name) == told}
    new = sorted(files.keys() - known.keys())
    read = {name: records.read_of(folder / name, protocol, track) for name in new}
    found = {name: one for name, one in read.items() if isinstance(one, Record)}
    rejected = [one for one in read.values() if isinstance(one, Rejected)]
    part = columns(list(found.values()), names)
    if kept is not None:
        part = joined([taken(kept.part, np.array(there, dtype=np.int64)), part])
    if len(part) >= INDEXED_FROM and not part.whole:
        settled = not rejected and time.time_ns() - now > SETTLED * 1e9
        head = Head([*names, *COSTS], now if settled else 0, part.recipes, part.kinds)
        _save(index, head, part, known | {name: files[name] for name in found})
    return part, rejected


def _files(folder: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".json") and not entry.name.startswith("."):
                told = entry.stat()
                yield entry.name, (told.st_mtime_ns, told.st_size)


@dataclass(frozen=True)
class Kept:
    """What an index holds; the files, which few ask for, are read when they are."""

    head: Head
    part: Columns
    path: Path
    at: int

    def files(self) -> Files:
        try:
            with self.path.open("rb") as file:
                file.seek(self.at)
                return msgspec.json.decode(file.read(), type=Files)
        except (OSError, msgspec.DecodeError):
            return {}


def _load(index: Path, names: tuple[str, ...]) -> Kept | None:
    """An index, if there is one, it is whole, and it holds the measures of these names."""
    try:
        with index.open("rb") as file:
            head = msgspec.json.decode(file.readline(), type=Head)
            recipe, seed, measures, costs, kind = (
                np.load(file, allow_pickle=False) for _ in range(5)
            )
            at = file.tell()
    except (OSError, ValueError, EOFError, msgspec.DecodeError):
        return None
    part = Columns(names, head.recipes, recipe, seed, measures, costs, head.kinds, kind)
    return Kept(head, part, index, at) if head.keys == [*names, *COSTS] else None


def _save(index: Path, head: Head, part: Columns, files: Files) -> None:
    file = BytesIO()
    file.write(msgspec.json.encode(head) + b"\n")
    for array in (part.recipe, part.seed, part.measures, part.costs, part.kind):
        np.save(file, array)
    file.write(msgspec.json.encode(files))
    with suppress(LTBenchError):  # it only saves time
        records.write_bytes(index, file.getvalue())
