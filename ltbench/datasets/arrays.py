"""Images or features as arrays of an .npz file, under the names that are in use for them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ltbench.contract.context import Rows
from ltbench.errors import LTBenchError
from ltbench.texts import composed, line, readable

INPUTS = ("x_{0}", "x{0}", "{0}_x", "{0}_images", "images_{0}", "{0}_data")
LABELS = ("y_{0}", "y{0}", "{0}_y", "{0}_labels", "labels_{0}", "{0}_targets")
WHOLE = {"x": "y", "images": "labels", "data": "targets"}
"""What arrays are called, in any case; the latter where there is one split."""

CHANNELS = (1, 3, 4)


def of_npz(path: Path) -> tuple[list[Rows], list[str] | None, list[str]]:
    """The rows of each split, the names of the classes if they are told, and notes.

    Labels are whole numbers [N] or [N, 1], one of C marked by 1 [N, C], or words. Images are
    [N, H, W], [N, C, H, W] or [N, H, W, C]; rows [N, D] are features.

    Raises:
        LTBenchError: the file cannot be read, or holds something else.
    """
    called = readable(str(path))
    if not is_zipfile(path):
        raise LTBenchError(f"{called} is not an .npz file")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = _names(called, arrays.files)
            held = {name: arrays[name] for pair in names.values() for name in pair if name}
            told = arrays["classes"] if "classes" in arrays.files else None
            aside = [name for name in arrays.files if name not in (*held, "classes")]
    except LTBenchError:
        raise
    # What NumPy, zipfile and zlib raise over a damaged archive is anybody's guess.
    except Exception as error:
        raise LTBenchError(f"{called} cannot be read: {line(error)}") from None
    inputs = {part: _inputs(f"{called}: {x}", held[x]) for part, (x, _) in names.items()}
    marks = {}
    for part, (x, y) in names.items():
        missing = y or f"y_{part}"
        marks[part] = _marks(f"{called}: {missing}", held.get(missing), x, len(held[x]))
    classes = None if told is None else [_word(name) for name in np.ravel(told).tolist()]
    if any(labels.dtype.kind in "US" for labels in marks.values()):
        classes = sorted({_word(word) for labels in marks.values() for word in labels.tolist()})
    parts = [
        Rows(inputs[part], _labels(f"{called}: {names[part][1]}", labels, classes or []))
        for part, labels in marks.items()
    ]
    return parts, classes, [f"not read: {', '.join(map(readable, aside))}"] if aside else []


def _names(called: str, files: list[str]) -> Mapping[str, tuple[str, str | None]]:
    """What the arrays of each split are called: its inputs and, if they are there, its labels."""
    held = {name.casefold(): name for name in files}
    found = {}
    for part in ("train", "test"):
        x, y = (
            next((held[form.format(part)] for form in forms if form.format(part) in held), None)
            for forms in (INPUTS, LABELS)
        )
        if x:
            found[part] = (x, y)
    if not found:
        whole = [(held[x], held[y]) for x, y in WHOLE.items() if {x, y} <= held.keys()]
        found = dict(zip(["train"], whole, strict=False))
    if found.get("train", ("", None))[1] is None:
        raise LTBenchError(f"{called} holds {sorted(files)}; it needs x_train and y_train")
    return found


def _marks(called: str, labels: Any, inputs: str, rows: int) -> NDArray[Any]:
    """A label, which is a number or a word, for each row [N]."""
    found: NDArray[Any] = np.empty(0) if labels is None else labels
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    elif found.ndim == 2 and found.dtype.kind in "buif" and _is_one_hot(found):
        found = found.argmax(axis=1)
    if found.shape != (rows,) or found.dtype.kind not in "iuUS":
        raise LTBenchError(f"{called} is not one whole number for each of {inputs}")
    return found


def _is_one_hot(labels: NDArray[Any]) -> bool:
    return bool(np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all())


def _labels(called: str, labels: NDArray[Any], classes: list[str]) -> Tensor:
    """Labels as numbers [N]; those of words are their place among the classes."""
    if labels.dtype.kind in "US":
        place = {word: k for k, word in enumerate(classes)}
        return torch.tensor([place[_word(word)] for word in labels.tolist()])
    for wrong in labels[(labels < 0) | (labels >= len(labels))][:1]:
        raise LTBenchError(
            f"{called} has label {wrong}; labels are whole numbers from 0 without a gap, so below "
            f"{len(labels)} here"
        )
    return torch.from_numpy(labels.astype(np.int64))


def _word(value: Any) -> str:
    return composed(
        value.decode("utf-8", "surrogateescape") if type(value) is bytes else str(value)
    )


def _inputs(called: str, inputs: NDArray[Any]) -> Tensor:
    """Bytes as they are, other numbers as float32; of images the channels first."""
    if inputs.ndim not in (2, 3, 4) or inputs.dtype.kind not in "buif" or not inputs.size:
        raise LTBenchError(f"{called} is not an array of numbers, a row an example")
    if inputs.dtype != np.uint8:
        with np.errstate(over="ignore"):
            inputs = inputs.astype(np.float32)
        if not np.isfinite(inputs).all():
            raise LTBenchError(f"{called} holds values that are not finite")
    tensor = torch.from_numpy(inputs)
    if tensor.dim() == 4:
        return tensor.movedim(_channels(called, tensor.shape), 1).contiguous()
    return tensor[:, None] if tensor.dim() == 3 else tensor


def _channels(called: str, shape: tuple[int, ...]) -> int:
    """Which dimension of images [N, ., ., .] is that of channels, the second or the last.

    Grey, colour and alpha make 1, 3 or 4 of them; where that does not tell, images are square.
    """
    _, first, middle, last = shape
    fits = [k for k, n in ((1, first), (3, last)) if n in CHANNELS]
    if len(fits) != 1:
        fits = [k for k, other in ((1, last), (3, first)) if other == middle]
    if len(fits) != 1:
        raise LTBenchError(
            f"{called} is {list(shape)}, which does not tell where its channels stand; store it as "
            "[N, C, H, W] with C 1, 3 or 4"
        )
    return fits[0]
