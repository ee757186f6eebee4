"""A source whose images are named in a file of columns, one of which is their group."""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch

from ltbench.contract.context import Rows
from ltbench.contract.track import Finder
from ltbench.datasets import Dataset, data_folder
from ltbench.datasets.pictures import Source, Split, decoded
from ltbench.errors import LTBenchError, UnknownName
from ltbench.texts import readable
from ltbench.tracks.domains.problem import Domains, Metadata


@dataclass(frozen=True)
class Grouped(Dataset):
    """A data set whose rows have groups, with a name for each."""

    group_names: tuple[str, ...] = ()


def read(registry: Finder, protocol: Domains) -> Grouped:
    """The images that the metadata of a protocol name, with their groups, numbered by name.

    Raises:
        LTBenchError: a file, a column or a split is missing, or a column says one thing alone.
    """
    metadata, source = protocol.metadata, protocol.data.source
    assert metadata is not None
    root = Path(registry.data.get(source, data_folder() / source))
    file = root / metadata.file
    lines = _lines(file, metadata)
    labels = _numbered([line[metadata.label] for line in lines], metadata.label, file)
    groups = _numbered([line[metadata.group] for line in lines], metadata.group, file)
    splits, told = [], []
    for word in (metadata.train, metadata.test):
        chosen = [line for line in lines if line[metadata.split] == word]
        if not chosen:
            raise LTBenchError(f"{_called(file)}: no row has {word!r} in column {metadata.split!r}")
        images = [_image(root / metadata.images, line, metadata, labels, file) for line in chosen]
        splits.append(Split(file, images))
        told.append(torch.tensor([groups[line[metadata.group]] for line in chosen]))
    others = Counter(line[metadata.split] for line in lines)
    notes = [
        f"{rows} rows of {file.name} say {word!r} in column {metadata.split!r} and are not read"
        for word, rows in sorted(others.items())
        if word not in (metadata.train, metadata.test)
    ]
    parts, made = decoded(splits, protocol.data.size)
    train, test = (
        Rows(rows.inputs, rows.labels, groups=group)
        for rows, group in zip(parts, told, strict=True)
    )
    return Grouped(train, tuple(labels), test, notes=(*notes, *made), group_names=tuple(groups))


def _called(file: Path) -> str:
    return readable(str(file))


def _lines(file: Path, metadata: Metadata) -> list[dict[str, str]]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            reader = csv.DictReader(opened)
            columns, lines = reader.fieldnames or [], list(reader)
    except OSError as error:
        raise LTBenchError(
            f"{_called(file)} cannot be read: {error.strerror}; set LTBENCH_DATA to a folder that "
            "holds the source, or give its own with --data"
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise LTBenchError(f"{_called(file)} is no text of columns: {error}") from None
    for column in (metadata.image, metadata.label, metadata.group, metadata.split):
        if column not in columns:
            raise UnknownName("column", column, columns, where=f"in {_called(file)}")
    for number, line in enumerate(lines, 2):
        if None in line or None in line.values():
            raise LTBenchError(f"{_called(file)}, line {number}: expected {len(columns)} columns")
    return lines


def _numbered(words: list[str], column: str, file: Path) -> dict[str, int]:
    """A number from 0 for each word of a column: in the order of numbers, or of letters."""
    found = set(words)
    if len(found) < 2:
        one = f"says {next(iter(found))!r} in every row" if found else "has no rows"
        raise LTBenchError(
            f"{_called(file)}: column {column!r} {one}; there is nothing to tell apart"
        )
    numbers = all(word.isdecimal() for word in found)
    return {word: k for k, word in enumerate(sorted(found, key=int if numbers else str))}


def _image(
    folder: Path, line: dict[str, str], metadata: Metadata, labels: dict[str, int], file: Path
) -> Source:
    place = folder / line[metadata.image]
    if not place.resolve().is_relative_to(folder.resolve()):
        told = f"{_called(file)}: {line[metadata.image]!r} points outside of {_called(folder)}"
        raise LTBenchError(told)
    return readable(str(place)), place.read_bytes, labels[line[metadata.label]]
