"""Boards that come with an installed ltbench: their records, unpacked, and one's own among them."""

import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

from ltbench.datasets import cache_folder
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.results import records
from ltbench.results.folder import results_folder
from ltbench.results.records import Record, same_code

ENDING = ".tar.xz"
KEPT = "boards"


@dataclass(frozen=True)
class Among:
    """Where a board's records stand: a results folder, and whether those of others are in it.

    `own` are the recipes of one's own that stand among them, `left_out` those that are shown by
    the records of others.
    """

    results: Path
    mixed: bool = False
    own: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def told(self) -> str:
        """What is to be said of it; empty where nothing of others stands there."""
        if not self.mixed:
            return ""
        parts = [f"among published rows: {', '.join(self.own) or 'none of your own'}"]
        if self.left_out:
            parts.append(f"shown as published, not as run here: {', '.join(self.left_out)}")
        return f"{'; '.join(parts)}; --own shows yours alone\n"


def archives() -> Path:
    """The folder of the boards that come along; there is none where ltbench runs from a clone."""
    return Path(str(files(__package__))) / "shipped"


def serve(results: Path) -> bool:
    """Whether published boards are shown for a results folder: not for one that was named and is
    not there."""
    return results == results_folder() or results.is_dir()


def known() -> list[str]:
    """The protocols whose boards come along."""
    return sorted(path.name.removesuffix(ENDING) for path in archives().glob(f"*{ENDING}"))


@cache
def unpacked(folder: Path) -> Path:
    """A results folder with the records of all boards that come along, in the cache.

    Raises:
        LTBenchError: it cannot be written.
    """
    found = sorted(folder.glob(f"*{ENDING}"))
    digest = hashlib.sha256()
    for path in found:
        digest.update(f"{path.name} ".encode())
        digest.update(path.read_bytes())
    place = cache_folder() / KEPT / digest.hexdigest()[:16]
    if place.is_dir():
        return place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as beside:
            for path in found:
                with tarfile.open(path) as archive:
                    archive.extractall(beside, filter="data")
            with suppress(OSError):  # another process was faster
                os.rename(beside, place)
            Path(beside).mkdir(exist_ok=True)  # which is removed at the end
    except OSError as error:
        raise LTBenchError(f"{place} cannot be written: {error.strerror}") from None
    return place


@contextmanager
def among(results: Path, protocol: Protocol) -> Iterator[Among]:
    """Where the board of a protocol is read from: one's own records, published ones, or both.

    Of a recipe that both have, the published records stand, unless the code of its methods is
    another. Where nothing is published of just this protocol and data, it is `results` itself.

    Raises:
        LTBenchError: the cache, or a folder for both, cannot be written.
    """
    name = protocol.name
    if name not in known():
        yield Among(results)
        return
    theirs, ours = unpacked(archives()), _by_folder(results, name)
    published = _by_folder(theirs, name)
    if not _alike(protocol, [*ours.values(), *published.values()]):
        yield Among(results)
        return
    if not ours:
        yield Among(theirs)
        return
    with tempfile.TemporaryDirectory(prefix="ltbench-") as made:
        both, told = Path(made), Among(Path(made), mixed=True)
        for other in theirs.iterdir():
            if other.name != name:
                _lead(both / other.name, other)
        shutil.copytree(theirs / name, both / name)
        for folder, record in ours.items():
            known_ones = published.get(folder)
            if known_ones is not None and same_code(known_ones.plugins, record.plugins):
                told.left_out.append(record.recipe)
                continue
            target = both / name / "records" / folder
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(results / name / "records" / folder, target)
            told.own.append(record.recipe)
        yield told


def _by_folder(results: Path, protocol: str) -> dict[str, Record]:
    """A record of each recipe that has one, by the name of its folder."""
    found = {}
    for folder in sorted((results / protocol / "records").glob("*/")):
        every = (records.read(path) for path in sorted(folder.glob("*.json")))
        first = next((one for one in every if isinstance(one, Record)), None)
        if first is not None:
            found[folder.name] = first
    return found


def _alike(protocol: Protocol, found: list[Record]) -> bool:
    """Whether records are of the protocol as it is, and of the same data."""
    data: dict[str, set[str]] = {}
    for one in found:
        data.setdefault(one.table, set()).add(one.fingerprint)
    return all(protocol.counts(one.hash) for one in found) and all(
        len(prints - {""}) < 2 for prints in data.values()
    )


def _lead(place: Path, there: Path) -> None:
    """Has a folder stand in another place as well."""
    try:
        place.symlink_to(there, target_is_directory=True)
    except (OSError, NotImplementedError):  # not every user of Windows may
        shutil.copytree(there, place)
