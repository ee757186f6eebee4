"""A data set from a user's own files: class folders, list files, parquet files or an .npz file."""

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from ltbench.contract.context import Rows
from ltbench.datasets import Dataset
from ltbench.datasets.arrays import of_npz
from ltbench.datasets.folders import listed, named, of_folders
from ltbench.datasets.parquet import of_parquet, shards_of
from ltbench.datasets.pictures import Split, decoded
from ltbench.errors import LTBenchError
from ltbench.texts import readable

SPLITS = ("train", "test")


def read(path: Path, size: int | None = None) -> Dataset:
    """The data set at a path; images are cut to `size` squared where one is given.

    A folder holds `train.parquet` or shards of that, or `train.txt` (lines of a path and a label),
    or a folder `train` of class folders, each with its like for `test` if it has a test split; or
    class folders. A parquet file has columns `img` (bytes) and `label`; an .npz file has x_train
    and y_train and may have x_test, y_test and classes.

    Raises:
        LTBenchError: something about the files is wrong; names the file and what.
    """
    called = readable(str(path))
    if path.suffix.casefold() == ".npz" and path.exists():
        return _checked(called, *of_npz(path))
    return _decoded(called, *_splits(path), size)


def _splits(path: Path) -> tuple[Sequence[Split], Sequence[str] | None, Sequence[str]]:
    """The splits of files of images, the names of classes where they are told, and notes."""
    if path.suffix.casefold() == ".parquet" and path.exists():
        return of_parquet([[path]])
    if not path.is_dir():
        called = readable(str(path))
        raise LTBenchError(f"data {called} is neither a folder nor a .parquet or .npz file")
    shards, aside = shards_of(path)
    if shards:
        splits, names, notes = of_parquet(shards)
        return splits, names, [*aside, *notes]
    lists = [named(path, f"{split}.txt") for split in SPLITS]
    if lists[0]:
        return [Split(file, list(listed(file))) for file in lists if file], None, []
    return of_folders(path)


def sizes(path: Path) -> Counter[tuple[int, int]]:
    """How many images are of which width and height, as far as their files tell; none of arrays.

    Raises:
        LTBenchError: something about the files is wrong.
    """
    found: Counter[tuple[int, int]] = Counter()
    if path.suffix.casefold() == ".npz":
        return found
    for split in _splits(path)[0]:
        for _, data, _ in split.images:
            try:
                with Image.open(io.BytesIO(data())) as opened:
                    found[opened.size] += 1
            # What is no image is told, by its name, where images are decoded.
            except Exception:
                continue
    return found


def _decoded(
    called: str,
    splits: Sequence[Split],
    names: Sequence[str] | None,
    notes: Sequence[str],
    size: int | None,
) -> Dataset:
    parts, made = decoded(splits, size)
    return _checked(called, parts, names, [*notes, *made])


def _checked(
    called: str, parts: Sequence[Rows], names: Sequence[str] | None, notes: Sequence[str]
) -> Dataset:
    """A data set of which each class has a name of its own, and rows in each split."""
    names = names or [str(c) for c in range(1 + max(int(one.labels.max()) for one in parts))]
    for rows in parts:
        counts = torch.bincount(rows.labels, minlength=len(names))
        if len(counts) > len(names):
            raise LTBenchError(f"{called}: label {len(counts) - 1} is out of 0..{len(names) - 1}")
        if (counts == 0).any():
            missing = names[int((counts == 0).nonzero()[0])]
            raise LTBenchError(f"{called}: class {missing} has no images in one split")
    if len(names) < 2:
        raise LTBenchError(f"{called} has one class; there is nothing to tell apart")
    twin = next((name for k, name in enumerate(names) if name in names[:k]), None)
    if twin is not None:
        raise LTBenchError(f"{called}: two classes of one name, {twin!r}; rename one of them")
    if len(parts) == 2 and parts[0].inputs.shape[1:] != parts[1].inputs.shape[1:]:
        raise LTBenchError(
            f"{called}: images to train on are {list(parts[0].inputs.shape[1:])}, "
            f"to test on {list(parts[1].inputs.shape[1:])}"
        )
    test = parts[1] if len(parts) == 2 else None
    return Dataset(parts[0], tuple(names), test, notes=tuple(notes))
