"""Bags from a user's own arrays, or from a data set that a plugin brings."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ltbench.contract.context import Rows
from ltbench.contract.track import Finder
from ltbench.datasets import Dataset, data_folder
from ltbench.errors import LTBenchError
from ltbench.texts import line, readable

SPLITS = ("train", "test")
NEEDED = tuple(f"{name}_{split}" for split in SPLITS for name in "xy")


@dataclass(frozen=True)
class Witnessed(Dataset):
    """Bags of which it is told which instances of test bags are witnesses [N, L]."""

    witnesses: Tensor | None = None


def witnesses_of(dataset: Dataset) -> Tensor | None:
    """Which instances of test bags are witnesses [N, L], where a source tells."""
    return getattr(dataset, "witnesses", None)


def of_source(registry: Finder, source: str) -> Dataset:
    """A source of bags: of a plugin, or an .npz file that is given or in the data folder.

    The file holds x_train and x_test [N, L, ...], y_train and y_test [N], and for each split either
    lengths, as `lengths_train` [N], or a mask, as `mask_train` [N, L]; without both all places are
    filled. It may hold `witnesses_test` [N, L], which instances tell the class, and `classes`.

    Raises:
        LTBenchError: there is none, or something about it is wrong; names it.
    """
    if source in registry.datasets_of_plugins():
        made: Dataset = registry.dataset(source)()
        return made
    place = Path(os.path.abspath(registry.data.get(source, data_folder() / f"{source}.npz")))
    called = readable(str(place))
    if not place.is_file():
        raise LTBenchError(f"bags {source!r} are not at {called}; give them: --data {source}=FILE")
    if not is_zipfile(place):
        raise LTBenchError(f"{called} is not an .npz file, as bags are stored in")
    try:
        with np.load(place, allow_pickle=False) as arrays:
            held = {name: arrays[name] for name in arrays.files}
    # What NumPy, zipfile and zlib raise over a damaged archive is anybody's guess.
    except Exception as error:
        raise LTBenchError(f"{called} cannot be read: {line(error)}") from None
    missing = [name for name in NEEDED if name not in held]
    if missing:
        raise LTBenchError(f"{called} holds no {missing[0]}; it needs {', '.join(NEEDED)}")
    train, test = (_rows(called, held, split) for split in SPLITS)
    if train.inputs.shape[2:] != test.inputs.shape[2:]:
        raise LTBenchError(
            f"{called}: instances to train on are {list(train.inputs.shape[2:])}, to test on "
            f"{list(test.inputs.shape[2:])}"
        )
    names = [str(name) for name in np.ravel(held.get("classes", [])).tolist()]
    names = names or [str(c) for c in range(1 + int(max(train.labels.max(), test.labels.max())))]
    _refuse_labels(called, (train, test), names)
    truth = held.get("witnesses_test")
    if truth is not None and truth.shape != test.inputs.shape[:2]:
        raise LTBenchError(
            f"{called}: witnesses_test is {list(truth.shape)}, but test bags have "
            f"{list(test.inputs.shape[:2])} places"
        )
    plain = Dataset(train, tuple(names), test)
    if truth is None:
        return plain
    told = truth.astype(bool)
    whole = hashlib.sha256(plain.fingerprint.encode() + told.tobytes()).hexdigest()[:16]
    return Witnessed(train, plain.classes, test, whole, witnesses=torch.from_numpy(told))


def _rows(called: str, held: Mapping[str, NDArray[Any]], split: str) -> Rows:
    x, y = held[f"x_{split}"], held[f"y_{split}"]
    if x.dtype.kind not in "buif" or x.ndim < 3 or not x.size:
        raise LTBenchError(f"{called}: x_{split} {x.dtype} {list(x.shape)} are no bags [N, L, ...]")
    if y.shape != x.shape[:1] or y.dtype.kind not in "iu":
        raise LTBenchError(f"{called}: y_{split} is not one whole number for each of {len(x)} bags")
    inputs = x if x.dtype == np.uint8 else x.astype(np.float32)
    mask = _mask(called, held, split, x.shape[:2])
    return Rows(torch.from_numpy(inputs), torch.from_numpy(y.astype(np.int64)), mask=mask)


def _mask(
    called: str, held: Mapping[str, NDArray[Any]], split: str, shape: tuple[int, ...]
) -> Tensor | None:
    """Which places [N, L] are filled, from lengths or a mask; None where neither is told."""
    lengths, mask = held.get(f"lengths_{split}"), held.get(f"mask_{split}")
    if lengths is not None and mask is not None:
        raise LTBenchError(f"{called} holds lengths_{split} and mask_{split}; leave one out")
    if mask is not None:
        if mask.shape != shape or mask.dtype != bool:
            raise LTBenchError(
                f"{called}: mask_{split} is {mask.dtype} {list(mask.shape)}, not true or false for "
                f"each of {list(shape)} places"
            )
        return torch.from_numpy(mask)
    if lengths is None:
        return None
    if lengths.shape != shape[:1] or lengths.dtype.kind not in "iu":
        raise LTBenchError(
            f"{called}: lengths_{split} is {lengths.dtype} {list(lengths.shape)}, not a whole "
            f"number for each of {shape[0]} bags"
        )
    wrong = np.flatnonzero((lengths < 0) | (lengths > shape[1]))
    if len(wrong):
        raise LTBenchError(
            f"{called}: bag {wrong[0]} of lengths_{split} has {lengths[wrong[0]]} instances, but "
            f"there are {shape[1]} places"
        )
    return torch.from_numpy(np.arange(shape[1]) < lengths[:, None])


def _refuse_labels(called: str, parts: tuple[Rows, Rows], names: list[str]) -> None:
    """Refuses labels beyond the classes, one class alone, and a class without bags in a split."""
    if len(names) < 2 or len(set(names)) < len(names):
        raise LTBenchError(f"{called}: classes are {names}; two or more are told apart, each once")
    for split, rows in zip(SPLITS, parts, strict=True):
        beyond = rows.labels[(rows.labels < 0) | (rows.labels >= len(names))]
        if len(beyond):
            raise LTBenchError(
                f"{called}: y_{split} has label {int(beyond[0])}, which is not in "
                f"0..{len(names) - 1}"
            )
        lost = (rows.labels.bincount(minlength=len(names)) == 0).nonzero()
        if len(lost):
            raise LTBenchError(f"{called}: class {names[int(lost[0])]} has no {split} bags")
