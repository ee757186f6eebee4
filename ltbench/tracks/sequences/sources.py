"""Where sequences come from: `.ts` files of a user or of the package aeon, and any array.

The format is that of the UEA and UCR archive (Bagnall et al., arXiv:1811.00075): a header, and a
line for each sequence, of which channels are parted by ":", steps by "," and the class comes last.
aeon holds a few such files. They are found without importing it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import torch
from torch import Tensor

from ltbench.contract.context import Rows
from ltbench.contract.track import Finder
from ltbench.datasets import Dataset, Loader, data_folder, packaged
from ltbench.datasets.delimited import decoded
from ltbench.errors import LTBenchError, UnknownName
from ltbench.texts import composed, readable
from ltbench.tracks.sequences.problem import Layout

PREFIX = "aeon/"
ENDING = ".ts"
TRAIN, TEST = "_TRAIN", "_TEST"
MISSING = ("?", "nan", "")


class Sources:
    """What finds data sets: as the registry does, and sequences in `.ts` files besides."""

    def __init__(self, registry: Finder) -> None:
        self.registry, self.data = registry, registry.data

    def dataset(self, name: str) -> Loader:
        """The loader of a data set.

        Raises:
            LTBenchError: it is unknown, or not there.
        """
        path = self.data.get(name)
        if path is not None and holds_ts(Path(path)):
            return partial(read, Path(path))
        if name.startswith(PREFIX):
            return partial(read, place(name.removeprefix(PREFIX)))
        return self.registry.dataset(name)

    def datasets_of_plugins(self) -> list[str]:
        return self.registry.datasets_of_plugins()


def holds_ts(path: Path) -> bool:
    """Whether a path is a `.ts` file, or a folder with some."""
    return path.suffix == ENDING or (path.is_dir() and any(path.glob(f"*{ENDING}")))


def _folders() -> Iterator[Path]:
    yield data_folder() / "aeon"
    shipped = packaged("aeon")
    if shipped is not None:
        yield shipped


def names() -> list[str]:
    """The sets of sequences that are there, as "aeon/JapaneseVowels"."""
    there = {
        file.name.removesuffix(TRAIN + ENDING)
        for folder in _folders()
        for file in folder.glob(f"*/*{TRAIN}{ENDING}")
        if file.name == file.parent.name + TRAIN + ENDING
    }
    return [PREFIX + name for name in sorted(there)]


def place(name: str) -> Path:
    """The file to train on of a set that the data folder or aeon holds.

    Raises:
        LTBenchError: it is in neither.
    """
    for folder in _folders():
        path = folder / name / f"{name}{TRAIN}{ENDING}"
        if path.is_file():
            return path
    if names():
        raise UnknownName(
            "sequences", PREFIX + name, names(), where="in the folder aeon or in aeon"
        )
    raise LTBenchError(
        f"sequences {PREFIX}{name} are not there; install aeon (pip install --no-deps aeon), or "
        f"put {name}{TRAIN}{ENDING} and {name}{TEST}{ENDING} into {data_folder() / 'aeon' / name}"
    )


def read(path: Path) -> Dataset:
    """The sequences of a file, with the test split of a file beside it that is called so.

    Of NAME_TRAIN.ts that is NAME_TEST.ts. A folder holds one such pair, or one file. Rows [C, T]
    are zero behind their end, which a mask tells where they differ in length.

    Raises:
        LTBenchError: a file is missing or not as it should be; names it and the row.
    """
    first = _first(path) if path.is_dir() else path
    files = [first]
    if first.stem.endswith(TRAIN):
        other = first.with_name(first.stem.removesuffix(TRAIN) + TEST + ENDING)
        files += [other] if other.is_file() else []
    state = [told for file in files for told in _state(file)]
    return _read(tuple(files), *state)


def _first(folder: Path) -> Path:
    """The file to train on in a folder: the one that ends in _TRAIN, or the only one."""
    files = sorted(folder.glob(f"*{ENDING}"))
    trained = [file for file in files if file.stem.endswith(TRAIN)]
    named = [file for file in trained if file.stem == folder.name + TRAIN]
    for found in (named, trained, files):
        if len(found) == 1:
            return found[0]
    told = ", ".join(file.name for file in (trained or files)[:3])
    raise LTBenchError(f"data {readable(str(folder))} holds {told}; name the one that is meant")


def _state(file: Path) -> tuple[int, int]:
    try:
        state = file.stat()
    except OSError as error:
        raise LTBenchError(f"data {readable(str(file))} cannot be read: {error.strerror}") from None
    return state.st_mtime_ns, state.st_size


@lru_cache(maxsize=8)
def _read(files: tuple[Path, ...], *state: int) -> Dataset:
    parts = [_parsed(file) for file in files]
    names = tuple(parts[0].classes)
    for file, part in zip(files, parts, strict=True):
        called = readable(str(file))
        if part.channels != parts[0].channels:
            raise LTBenchError(
                f"{called} has {part.channels} channels, but {files[0].name} {parts[0].channels}"
            )
        strange = sorted(set(part.labels) - set(names))
        if strange:
            raise LTBenchError(f"{called} has class {strange[0]!r}, which {files[0].name} lacks")
        empty = [name for name in names if name not in part.labels]
        if empty:
            raise LTBenchError(f"{called} has no sequence of class {empty[0]}")
    if len(names) < 2:
        raise LTBenchError(
            f"{readable(str(files[0]))} has one class; there is nothing to tell apart"
        )
    longest = max(len(row[0]) for part in parts for row in part.rows)
    even = all(len(row[0]) == longest for part in parts for row in part.rows)
    rows = [_rows(part, names, longest, even) for part in parts]
    return Dataset(rows[0], names, rows[1] if len(rows) == 2 else None)


@dataclass(frozen=True)
class Parsed:
    """What a file says: of each row its channels of numbers and its class, and all classes."""

    rows: list[list[list[float]]]
    labels: list[str]
    classes: list[str]

    @property
    def channels(self) -> int:
        return len(self.rows[0])


def _rows(part: Parsed, names: tuple[str, ...], longest: int, even: bool) -> Rows:
    inputs = torch.zeros(len(part.rows), part.channels, longest)
    mask = torch.zeros(len(part.rows), longest, dtype=torch.bool)
    for k, row in enumerate(part.rows):
        inputs[k, :, : len(row[0])] = torch.tensor(row)
        mask[k, : len(row[0])] = True
    labels = torch.tensor([names.index(label) for label in part.labels])
    return Rows(inputs, labels, mask=None if even else mask)


def _parsed(file: Path) -> Parsed:
    """What a file says, checked row by row.

    Raises:
        LTBenchError: it is none of this format, or a row is not as it should be.
    """
    called = readable(str(file))
    try:
        lines = [line.strip() for line in decoded(file.read_bytes()).splitlines()]
    except LTBenchError as error:
        raise LTBenchError(f"{called} cannot be read: {error}") from None
    lines = [line for line in lines if line and not line.startswith(("#", "%"))]
    keys = {line.lower(): k for k, line in enumerate(lines) if line.startswith("@")}
    if "@data" not in keys:
        raise LTBenchError(f"{called} is no .ts file of sequences: it has no line @data")
    header = dict(_key(line) for line in lines[: keys["@data"]])
    declared = header.get("classlabel", [])
    if declared[:1] != ["true"]:
        raise LTBenchError(f"{called} says no class of its sequences (@classLabel true ...)")
    if header.get("timestamps", ["false"])[0] == "true":
        raise LTBenchError(f"{called} has time stamps; store its sequences at even steps, without")
    rows: list[list[list[float]]] = []
    labels = []
    for k, line in enumerate(lines[keys["@data"] + 1 :], 1):
        *told, label = line.split(":")
        rows.append(_row(f"{called}, sequence {k}", told, len(rows[0]) if rows else None))
        labels.append(composed(label.strip()))
    if not rows:
        raise LTBenchError(f"{called} holds no sequences")
    named = [*map(composed, declared[1:])] or sorted(set(labels))
    strange = [label for label in labels if label not in named]
    if strange:
        raise LTBenchError(f"{called} has class {strange[0]!r}, which its @classLabel lacks")
    return Parsed(rows, labels, named)


def _key(line: str) -> tuple[str, list[str]]:
    key, *values = line.removeprefix("@").split()
    lowered = [values[0].lower(), *values[1:]] if values else []
    return key.lower(), lowered


def _row(called: str, told: list[str], channels: int | None) -> list[list[float]]:
    """The numbers of one row by channel, all of one length."""
    if channels is not None and len(told) != channels:
        raise LTBenchError(f"{called} has {len(told)} channels, but those before have {channels}")
    row = [_numbers(f"{called}, channel {c}", text) for c, text in enumerate(told, 1)]
    if not row:
        raise LTBenchError(f"{called} has no channel before its class")
    for c, values in enumerate(row, 1):
        if len(values) != len(row[0]):
            raise LTBenchError(
                f"{called}, channel {c} has {len(values)} steps, but its first has {len(row[0])}"
            )
    return row


def _numbers(called: str, text: str) -> list[float]:
    if not text.strip():
        raise LTBenchError(f"{called} has no steps; leave the sequence out")
    words = [word.strip() for word in text.split(",")]
    try:
        values = [float(word) for word in words]
    except ValueError:
        wrong = next(word for word in words if not _is_number(word))
        if wrong.lower() in MISSING:
            raise LTBenchError(f"{called} misses a value ({wrong or 'none'}); fill it in") from None
        raise LTBenchError(f"{called} holds {readable(wrong)!r}, which is no number") from None
    if not all(map(math.isfinite, values)):
        raise LTBenchError(f"{called} holds a value that is not finite; fill it in")
    return values


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def laid_out(dataset: Dataset, layout: Layout, zero: Sequence[float], called: str) -> Dataset:
    """The same data as sequences of the channels and steps that a protocol states.

    `zero` are the values [C] that standardising makes 0. The fingerprint stays that of the source.

    Raises:
        LTBenchError: a row is no sequence, or has other channels or more steps.
    """
    channels = len(layout.channels)
    fill = torch.tensor(zero or [0.0] * channels)

    def made(rows: Rows) -> Rows:
        inputs = _as_sequences(rows, called)
        _, found, longest = inputs.shape
        if found != channels:
            raise LTBenchError(
                f"{called} has sequences of {found} channels, but the protocol names {channels}; "
                "mend channels of [sequence]"
            )
        if longest > layout.steps:
            raise LTBenchError(
                f"{called} has a sequence of {longest} steps, and the protocol keeps "
                f"{layout.steps}; raise steps of [sequence]"
            )
        return Rows(filled(inputs, rows.mask, layout, fill), rows.labels)

    test = None if dataset.test is None else made(dataset.test)
    kept = dataset.fingerprint, dataset.notes
    return Dataset(made(dataset.train), dataset.classes, test, *kept)


def _as_sequences(rows: Rows, called: str) -> Tensor:
    """Inputs as sequences [N, C, T]: of grey images the lines are channels, features are one."""
    inputs, shape = rows.inputs, rows.shape
    if inputs.dtype == torch.uint8:
        inputs = inputs.float() / 255
    if len(shape) == 2:
        return inputs
    if len(shape) == 1:
        return inputs[:, None]
    if len(shape) == 3 and shape[0] == 1:
        return inputs[:, 0]
    raise LTBenchError(f"a row of {called} is {list(shape)}; a sequence is [channels, steps]")


def filled(inputs: Tensor, mask: Tensor | None, layout: Layout, zero: Tensor) -> Tensor:
    """Sequences [N, C, T] of as many steps as stated, of which those behind the end are filled up.

    `mask` [N, T] tells their own steps where they differ in length.
    """
    n, channels, longest = inputs.shape
    place = torch.arange(layout.steps)
    last = torch.full((n,), longest - 1) if mask is None else mask.sum(dim=1) - 1
    index = torch.minimum(place, last[:, None])
    values = inputs.gather(2, index[:, None].expand(n, channels, layout.steps))
    if layout.padding == "last":
        return values
    behind = (place > last[:, None])[:, None]
    return torch.where(behind, zero.to(inputs.dtype)[:, None], values)
