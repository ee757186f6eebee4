"""Rows with a matrix of labels from a user's own files: lists with a column a class, or arrays."""

import csv
import os
from pathlib import Path
from zipfile import is_zipfile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ltbench.contract.context import Rows
from ltbench.contract.track import Finder
from ltbench.datasets import Dataset, data_folder
from ltbench.datasets.pictures import Source, Split, decoded
from ltbench.errors import LTBenchError
from ltbench.texts import line, readable

IMAGE = "image"  # the column of paths
SPLITS = ("train", "test")
ARRAYS = ("x_train", "y_train", "x_test", "y_test", "classes")


def matrices(registry: Finder, source: str, size: int | None) -> Dataset:
    """A source with a matrix of labels: of a plugin, or files that are given or in the data folder.

    A folder holds `train.csv` and `test.csv`, whose first column `image` has paths below it, and
    whose others are named after classes and hold 1, or 0 where a label is absent. An .npz file
    holds x_train, y_train, x_test, y_test (labels [N, C]) and may hold classes.

    Raises:
        LTBenchError: there is none, or something about the files is wrong; names it.
    """
    if source in registry.datasets_of_plugins():
        made: Dataset = registry.dataset(source)()
        return made
    place = Path(os.path.abspath(registry.data.get(source, data_folder() / source)))
    if not place.exists() and place.with_suffix(".npz").exists():
        place = place.with_suffix(".npz")
    if place.suffix == ".npz" and place.is_file():
        return of_arrays(place)
    if not (place / "train.csv").is_file():
        raise LTBenchError(
            f"{source} is not at {readable(str(place))}: a folder with train.csv and test.csv, "
            f"or an .npz file; give it with --data {source}=PATH"
        )
    return of_lists(place, size)


def of_lists(folder: Path, size: int | None) -> Dataset:
    """The images of two lists, cut to a size where one is given."""
    found = [_listed(folder / f"{split}.csv") for split in SPLITS]
    if found[0][0] != found[1][0]:
        raise LTBenchError(f"{readable(str(folder))}: train.csv and test.csv name other classes")
    splits = [
        Split(folder / f"{split}.csv", [_source(folder, name) for name in names])
        for split, (_, names, _) in zip(SPLITS, found, strict=True)
    ]
    parts, notes = decoded(splits, size)
    train, test = (
        Rows(part.inputs, labels) for part, (_, _, labels) in zip(parts, found, strict=True)
    )
    return Dataset(train, found[0][0], test, notes=tuple(notes))


def _source(folder: Path, name: str) -> Source:
    """An image of a list; a link may lead out of the folder, a name may not."""
    path = Path(os.path.normpath(folder / name))
    if not path.is_relative_to(folder):
        raise LTBenchError(f"image {readable(name)} points outside of {readable(str(folder))}")

    def read() -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            told = error.strerror or line(error)
            raise LTBenchError(f"{readable(str(path))} cannot be read: {told}") from None

    return readable(str(path)), read, 0


def _listed(file: Path) -> tuple[tuple[str, ...], list[str], Tensor]:
    """The classes that a list names, its images, and their labels [N, C]."""
    called = readable(str(file))
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            head, *lines = [row for row in csv.reader(opened) if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LTBenchError(f"{called} cannot be read: {line(error)}") from None
    if not head or head[0] != IMAGE or len(head) < 3:
        raise LTBenchError(
            f"{called} begins with {','.join(head[:3])!r}; its first line is 'image' and the name "
            "of each of two classes or more"
        )
    labels = np.zeros((len(lines), len(head) - 1), dtype=np.float32)
    for number, row in enumerate(lines):
        if len(row) != len(head):
            raise LTBenchError(
                f"{called}, row {number + 1}: {len(row)} columns, but {len(head)} are named"
            )
        labels[number] = _marks(called, number, head, row)
    return tuple(head[1:]), [row[0] for row in lines], torch.from_numpy(labels)


def _marks(called: str, number: int, head: list[str], row: list[str]) -> list[float]:
    for name, value in zip(head[1:], row[1:], strict=True):
        if value.strip() not in ("0", "1"):
            raise LTBenchError(
                f"{called}, row {number + 1} has {value!r} for class {name}; a label is 1, or 0 "
                "where it is absent"
            )
    return [float(value) for value in row[1:]]


def of_arrays(file: Path) -> Dataset:
    """The arrays of an .npz file: images [N, C, H, W] or features [N, D], and labels [N, K]."""
    called = readable(str(file))
    if not is_zipfile(file):
        raise LTBenchError(f"{called} is not an .npz file")
    try:
        with np.load(file, allow_pickle=False) as arrays:
            held = {name: arrays[name] for name in ARRAYS if name in arrays.files}
    # What NumPy, zipfile and zlib raise over a damaged archive is anybody's guess.
    except Exception as error:
        raise LTBenchError(f"{called} cannot be read: {line(error)}") from None
    missing = [name for name in ARRAYS[:4] if name not in held]
    if missing:
        raise LTBenchError(f"{called} holds no {missing[0]}; it needs {', '.join(ARRAYS[:4])}")
    parts = [_rows(called, held[f"x_{split}"], held[f"y_{split}"]) for split in SPLITS]
    names = np.ravel(held.get("classes", np.arange(parts[0].labels.shape[1]))).tolist()
    return Dataset(parts[0], tuple(str(name) for name in names), parts[1])


def _rows(called: str, inputs: NDArray[np.generic], labels: NDArray[np.generic]) -> Rows:
    if labels.ndim != 2 or labels.dtype.kind not in "buif" or len(labels) != len(inputs):
        raise LTBenchError(
            f"{called}: labels {labels.dtype} {list(labels.shape)} are no matrix of 0 and 1 with a "
            f"row for each of {len(inputs)} inputs"
        )
    if inputs.dtype.kind not in "buif" or inputs.ndim not in (2, 4):
        raise LTBenchError(
            f"{called}: inputs {inputs.dtype} {list(inputs.shape)} are neither images "
            "[N, C, H, W] nor features [N, D]"
        )
    numbers = inputs if inputs.dtype == np.uint8 else inputs.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise LTBenchError(f"{called}: inputs hold values that are not finite")
    return Rows(torch.from_numpy(numbers), torch.from_numpy(labels.astype(np.float32)))
