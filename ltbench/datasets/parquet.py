"""Pictures in parquet files, in the layouts that data sets of images are published in."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ltbench.datasets.folders import ASIDE, ENDINGS, hidden
from ltbench.datasets.pictures import Source, Split, decoded
from ltbench.errors import LTBenchError
from ltbench.texts import composed, line, readable

if TYPE_CHECKING:
    import pyarrow

IMAGES, LABELS = ("img", "image"), ("label", "labels", "fine_label")
BYTES = ("binary", "large_binary", "binary_view", "fixed_size_binary")
WORDS = ("string", "large_string", "string_view")
SPLITS = ("train", "test", *ASIDE)
SHARD = re.compile(r"(?P<split>[a-z]+)(-(?P<number>\d+)-of-(?P<count>\d+)(-[0-9a-f]+)?)?\.parquet")


def shards_of(folder: Path) -> tuple[list[list[Path]], list[str]]:
    """The parquet files to train on, those to test on if there are any, and notes.

    They are called `train.parquet` or `train-00000-of-00002.parquet`, or stand in a folder `train`;
    all that in the folder, or in one below it, as `data` or a configuration of a hub.

    Raises:
        LTBenchError: a shard is missing, two hold one part, or several folders could be meant.
    """
    found = {"": _splits(folder)}
    if "train" not in found[""] and not (folder / "train").exists():
        found = {one.name: _splits(one) for one in _listing(folder) if _may_hold_shards(one)}
    found = {name: splits for name, splits in found.items() if "train" in splits}
    if len(found) > 1:
        told = f"{readable(str(folder))} holds several data sets: {', '.join(found)}"
        raise LTBenchError(f"{told}; name the folder of one")
    for splits in found.values():
        aside = [name for name in splits if name not in ("train", "test")]
        notes = [f"the part {name} is not read" for name in aside]
        return [splits[name] for name in ("train", "test") if name in splits], notes
    return [], []


def _may_hold_shards(folder: Path) -> bool:
    """Whether this may be more than a folder of pictures, of which there may be very many."""
    try:
        with os.scandir(folder) as entries:
            return not any(entry.name.lower().endswith(ENDINGS) for entry in entries)
    except OSError:
        return False


def _splits(folder: Path) -> dict[str, list[Path]]:
    """The parquet files of each split that stand in a folder, in order."""
    parts: dict[str, list[tuple[int, int, Path]]] = {}
    found = {}
    for file in _listing(folder):
        if told := SHARD.fullmatch(file.name.casefold()):
            part = (int(told["number"] or 0), int(told["count"] or 1), file)
            parts.setdefault(told["split"], []).append(part)
        elif file.name.casefold() in SPLITS:
            inner = _listing(file)
            if inner and all(one.suffix.casefold() == ".parquet" for one in inner):
                found[file.name.casefold()] = inner
    for split, held in parts.items():
        held.sort()
        if [part[:2] for part in held] != [(k, len(held)) for k in range(len(held))]:
            names = ", ".join(file.name for _, _, file in held)
            where = readable(str(folder))
            raise LTBenchError(f"{where}: the parts of {split} are not whole: {names}")
        found[split] = [file for _, _, file in held]
    return found


def _listing(folder: Path) -> list[Path]:
    """What is in a folder, but for what is hidden or a writer's mark; nothing where it is none."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [folder / name for name in names if not (hidden(name) or name.startswith("_"))]


def images_of(file: Path) -> torch.Tensor:
    """The images of a parquet file alone, whatever their classes are called.

    Raises:
        LTBenchError: something about the file is wrong.
    """
    splits, _, _ = of_parquet([[file]])
    (rows,), _ = decoded(splits, None)
    return rows.inputs


def of_parquet(
    parts: Sequence[Sequence[Path]],
) -> tuple[list[Split], list[str] | None, list[str]]:
    """The splits, the names of the classes where the files tell them, and notes.

    `parts` are the files of each split. Labels that are words become numbers in order of the words.

    Raises:
        LTBenchError: a file cannot be read, or has not the columns.
    """
    splits, names, notes = [], None, list[str]()
    first = parts[0][0]
    for files in parts:
        images: list[Source] = []
        for file in (one for path in files for one in (_listing(path) or [path])):
            table, image, label = _read(file)
            images += _sources(file, table.column(image), table.column(label).to_pylist())
            told, wrong = _names(table.schema.metadata, label)
            notes += [f"{readable(file.name)}: {wrong}"] * bool(wrong)
            if told and names and told != names:
                raise LTBenchError(
                    f"{readable(str(file))} names the classes otherwise than {first.name} does"
                )
            names = names or told
        splits.append(Split(files[0] if len(files) == 1 else files[0].parent, images))
    labels = [label for split in splits for _, _, label in split.images]
    if labels and all(isinstance(label, str) for label in labels):
        words = sorted({composed(label) for label in labels})
        place = {word: k for k, word in enumerate(words)}
        return [_numbered(split, place) for split in splits], words, notes
    return splits, names and _told_apart(names), notes


def _numbered(split: Split, place: Mapping[str, int]) -> Split:
    return Split(split.where, [(n, data, place[composed(word)]) for n, data, word in split.images])


def _read(file: Path) -> tuple["pyarrow.Table", str, str]:
    """The two columns of a file, and how those of images and of labels are called."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise LTBenchError("parquet files need pyarrow: pip install 'ltbench[parquet]'") from None
    called = readable(str(file))
    try:
        with file.open("rb") as stream:
            opened = parquet.ParquetFile(stream)
            there = opened.schema_arrow.names
            image, label = (
                next((name for name in known if name in there), None) for known in (IMAGES, LABELS)
            )
            if image is None or label is None:
                raise LTBenchError(f"{called} has columns {there}; it needs img and label")
            return opened.read(columns=[image, label]), image, label
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise LTBenchError(f"{called} cannot be read: {line(error)}") from None


def _sources(file: Path, column: Any, labels: list[Any]) -> Iterator[Source]:
    """The images of a file: bytes, or structs of bytes and, in place of them, a path."""
    import pyarrow.compute
    from pyarrow import types

    called, paths = readable(str(file)), [None] * len(labels)
    if types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        if column.type.get_field_index("path") >= 0:
            paths = pyarrow.compute.struct_field(column, "path").to_pylist()
        column = pyarrow.compute.struct_field(column, "bytes")
    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    if str(kind).partition("[")[0] not in BYTES:
        raise LTBenchError(f"{called}: the images are {column.type}; they must be bytes")
    images = column.to_pylist()
    for row, (image, path, label) in enumerate(zip(images, paths, labels, strict=True)):
        name = f"{called}, row {row}"
        if image is None:
            beside = _beside(file, name, path)
            yield name, beside.read_bytes, label
        else:
            yield name, partial(bytes, image), label


def _beside(file: Path, name: str, path: Any) -> Path:
    """The file of an image that a row names in place of its bytes."""
    root = file.parent.resolve()
    found = Path(os.path.normpath(root / path)) if isinstance(path, str) and path else root
    if found == root or not found.is_relative_to(root):
        raise LTBenchError(f"{name} holds no image")
    return found


def _names(metadata: Mapping[bytes, bytes] | None, label: str) -> tuple[list[str] | None, str]:
    """The names of the classes, if the metadata of a file tell them, and what is wrong there."""
    try:
        told = json.loads((metadata or {}).get(b"huggingface", b"null"))
        features = told["info"]["features"]
        names = features[label]["names"]
    except (ValueError, RecursionError):
        return None, "its metadata cannot be read, so classes are called by number"
    except (KeyError, TypeError):
        names = None  # there are none, or they stand where none are looked for
    if isinstance(names, dict) and names.keys() == {str(k) for k in range(len(names))}:
        names = [names[str(k)] for k in range(len(names))]
    if isinstance(names, list) and names:
        if all(isinstance(name, str | int) for name in names):
            return [composed(str(name)) for name in names], ""
        return None, "its names of classes are no words, so classes are called by number"
    return None, ""


def _told_apart(names: list[str]) -> list[str]:
    """Names of which those that stand twice have their number added; ImageNet has such."""
    count = Counter(names)
    return [f"{name} ({k})" if count[name] > 1 else name for k, name in enumerate(names)]
