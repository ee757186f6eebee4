"""Images from a user's own files: class folders, list files, parquet files or an .npz file."""

import io
import json
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, is_zipfile

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ltbench.contract.context import Rows
from ltbench.datasets import Dataset
from ltbench.errors import LTBenchError

Bytes = NDArray[np.uint8]
Source = tuple[str, Callable[[], bytes], int]  # what to call the image, its bytes, its label
GREY = ("1", "L")
CHUNK = 1000  # images that a thread decodes at a stretch
MOST_PIXELS = 2**25  # of one image; a larger one is a mistake, or an attack
ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff"}


def read(path: Path, size: int | None = None) -> Dataset:
    """The data set at a path; images are cut to `size` squared where one is given.

    A folder holds `train.parquet` or `train.txt` (lines of a path and a label) or a folder
    `train` of class folders, each with its like for `test` if it has a test split; or class
    folders. A parquet file has columns `img` (bytes) and `label`; an .npz file has x_train and
    y_train and may have x_test, y_test and classes.

    Raises:
        LTBenchError: something about the files is wrong; names the file and what.
    """
    if path.suffix == ".npz":
        return _from_npz(path)
    if path.suffix == ".parquet":
        return _from_parquet([path], size)
    if not path.is_dir():
        raise LTBenchError(f"data {path} is neither a folder nor a .parquet or .npz file")
    for ending, reader in ((".parquet", _from_parquet), (".txt", _from_lists)):
        parts = [path / f"{name}{ending}" for name in ("train", "test")]
        if parts[0].exists():
            return reader([part for part in parts if part.exists()], size)
    parts = [path / name for name in ("train", "test")]
    folders = [part for part in parts if part.is_dir()] if parts[0].is_dir() else [path]
    return _from_folders(folders, size)


def _from_folders(folders: Sequence[Path], size: int | None) -> Dataset:
    classes = [_class_folders(folder) for folder in folders]
    names = sorted(classes[0])
    if len(classes) == 2 and classes[1] != classes[0]:
        missing = sorted(set(classes[0]) ^ set(classes[1]))
        raise LTBenchError(f"{folders[0].parent}: class {missing[0]} is in one split only")
    parts = []
    for folder in folders:
        images = [
            (str(file), file.read_bytes, label)
            for label, name in enumerate(names)
            for file in sorted((folder / name).iterdir())
            if file.suffix.lower() in ENDINGS
        ]
        parts.append(_decoded(folder, images, size))
    return _checked(folders[0].parent, parts, names)


def _class_folders(folder: Path) -> list[str]:
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    if not names:
        raise LTBenchError(f"{folder} holds no class folders")
    seen: dict[str, str] = {}
    for name in names:
        twin = seen.setdefault(name.casefold().strip(), name)
        if twin != name:
            raise LTBenchError(f"{folder} has two classes of one name: {twin!r} and {name!r}")
    return names


def _from_lists(lists: Sequence[Path], size: int | None) -> Dataset:
    parts, labels = [], set()
    for file in lists:
        images = list(_listed(file))
        parts.append(_decoded(file, images, size))
        labels |= {label for _, _, label in images}
    return _checked(lists[0].parent, parts, [str(c) for c in range(max(labels) + 1)])


def _listed(file: Path) -> Iterator[Source]:
    root = file.parent.resolve()
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LTBenchError(f"{file} cannot be read as text: {error}") from None
    for number, line in enumerate(lines, 1):
        place, _, label = line.rpartition(" ")
        if not place or "\0" in place or not (label.isascii() and label.isdigit()):
            raise LTBenchError(f"{file}, line {number}: expected a path and a label, got {line!r}")
        image = Path(os.path.normpath(root / place))  # a link may lead elsewhere, a name may not
        if not image.is_relative_to(root):
            raise LTBenchError(f"{file}, line {number}: {place} points outside of {file.parent}")
        yield f"{file.parent / place}", image.read_bytes, int(label)


def images_of(file: Path) -> torch.Tensor:
    """The images of a parquet file alone, whatever their classes are called.

    Raises:
        LTBenchError: something about the file is wrong.
    """
    (rows,), _ = _parquet_parts([file], None)
    return rows.inputs


def _from_parquet(files: Sequence[Path], size: int | None) -> Dataset:
    parts, names = _parquet_parts(files, size)
    names = names or [str(c) for c in range(int(parts[0].labels.max()) + 1)]
    return _checked(files[0].parent, parts, names)


def _parquet_parts(
    files: Sequence[Path], size: int | None
) -> tuple[list[Rows], Sequence[str] | None]:
    """The rows of each file, and the names of the classes where the files tell them."""
    try:
        import pyarrow.compute
        from pyarrow import parquet
    except ImportError:
        raise LTBenchError("parquet files need pyarrow: pip install 'ltbench[parquet]'") from None
    parts, names = [], None
    for file in files:
        try:
            table = parquet.read_table(file)
        except (OSError, pyarrow.ArrowException) as error:
            raise LTBenchError(f"{file} cannot be read: {error}") from None
        column = next((name for name in ("img", "image") if name in table.column_names), None)
        if column is None or "label" not in table.column_names:
            raise LTBenchError(f"{file} has columns {table.column_names}; it needs img and label")
        try:
            told = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
        except ValueError as error:
            raise LTBenchError(f"{file}: its metadata cannot be read: {error}") from None
        names = names or told.get("info", {}).get("features", {}).get("label", {}).get("names")
        column = table.column(column)
        if pyarrow.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
            column = pyarrow.compute.struct_field(column, "bytes")
        if not pyarrow.types.is_binary(column.type):
            raise LTBenchError(f"{file}: the images are {column.type}; they must be bytes")
        pair = column.to_pylist(), table.column("label").to_pylist()
        images = [
            (f"{file}, row {row}", lambda data=image: data or b"", label)
            for row, (image, label) in enumerate(zip(*pair, strict=True))
        ]
        parts.append(_decoded(file, images, size))
    return parts, names


def _from_npz(path: Path) -> Dataset:
    if not is_zipfile(path):
        raise LTBenchError(f"{path} is not an .npz file")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            held = {name: arrays[name] for name in arrays.files}
    except (BadZipFile, OSError, ValueError, zlib.error) as error:
        raise LTBenchError(f"{path} cannot be read: {error}") from None
    if not {"x_train", "y_train"} <= held.keys():
        raise LTBenchError(f"{path} holds {sorted(held)}; it needs x_train and y_train")
    parts = []
    for part in ("train", "test"):
        if f"x_{part}" in held:
            inputs, labels = held[f"x_{part}"], held.get(f"y_{part}", np.empty(0))
            if inputs.ndim < 2 or inputs.dtype.kind not in "buif" or not len(inputs):
                raise LTBenchError(f"{path}: x_{part} is not an array of numbers, a row an example")
            if labels.shape != inputs.shape[:1] or labels.dtype.kind not in "iu":
                raise LTBenchError(f"{path}: y_{part} is not one whole number for each of x_{part}")
            for wrong in labels[(labels < 0) | (labels >= len(labels))][:1]:
                raise LTBenchError(
                    f"{path}: y_{part} has label {wrong}; labels are whole numbers from 0 without "
                    f"a gap, so below {len(labels)} here"
                )
            if inputs.dtype != np.uint8:
                inputs = inputs.astype(np.float32)
                if not np.isfinite(inputs).all():
                    raise LTBenchError(f"{path}: x_{part} holds values that are not finite")
            parts.append(Rows(_channels_first(inputs), torch.from_numpy(labels.astype(np.int64))))
    told = held.get("classes", np.arange(int(parts[0].labels.max()) + 1))
    names = [str(name) for name in np.atleast_1d(told)]
    return _checked(path, parts, names)


def _decoded(where: Path, images: Sequence[Source], size: int | None) -> Rows:
    """Images as bytes [N, C, H, W]; all have one size and one kind, or are cut to `size`."""
    if not images:
        raise LTBenchError(f"{where} holds no images")
    labels = [label for _, _, label in images]
    wrong = next((k for k, label in enumerate(labels) if not _is_class(label, len(images))), None)
    if wrong is not None:
        raise LTBenchError(
            f"{images[wrong][0]} has label {labels[wrong]!r}; labels are whole numbers from 0 "
            f"without a gap, so below {len(images)} here"
        )
    first = _image(images[0], size)
    pixels = np.empty((len(images), *first.shape), dtype=np.uint8)

    def decode(start: int) -> None:
        for position, source in enumerate(images[start : start + CHUNK], start):
            image = _image(source, size)
            if image.shape != first.shape:
                raise LTBenchError(
                    f"{source[0]} is {_shape(image)}, but {images[0][0]} is {_shape(first)}; "
                    "images must be alike, or a size must be given"
                )
            pixels[position] = image

    with ThreadPoolExecutor() as threads:
        for _ in threads.map(decode, range(0, len(images), CHUNK)):
            pass
    colours_first = np.moveaxis(pixels, 3, 1) if pixels.ndim == 4 else pixels[:, None]
    return Rows(torch.from_numpy(np.ascontiguousarray(colours_first)), torch.tensor(labels))


def _is_class(label: Any, rows: int) -> bool:
    return type(label) is int and 0 <= label < rows


def _image(source: Source, size: int | None) -> Bytes:
    name, data, _ = source
    try:
        with Image.open(io.BytesIO(data())) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise LTBenchError(
                    f"{name} is {opened.width} x {opened.height}, which is too large"
                )
            if opened.mode.startswith(("I", "F")):
                raise LTBenchError(f"{name} has more than 8 bits a channel; make it an 8-bit image")
            image = opened.convert("L" if opened.mode in GREY else "RGB")
            return np.asarray(image if size is None else _cut(image, size))
    except UnidentifiedImageError:
        raise LTBenchError(f"{name} is not an image") from None
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise LTBenchError(f"{name} cannot be read as an image: {error}") from None


def _cut(image: Image.Image, size: int) -> Image.Image:
    """The middle square of the image scaled to 8 / 7 of `size`, so of 224 out of 256 pixels."""
    side = round(size * 8 / 7)
    scale = side / min(image.size)
    width, height = (max(side, round(length * scale)) for length in image.size)
    image = image.resize((width, height))
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


def _channels_first(pixels: NDArray[Any]) -> torch.Tensor:
    tensor = torch.from_numpy(pixels)
    if tensor.dim() == 3:
        return tensor[:, None]
    if tensor.dim() == 4 and tensor.shape[3] in (1, 3, 4) and tensor.shape[1] not in (1, 3, 4):
        return tensor.permute(0, 3, 1, 2).contiguous()
    return tensor


def _shape(image: Bytes) -> str:
    kind = "grey" if image.ndim == 2 else "colour"
    return f"{image.shape[1]} x {image.shape[0]}, {kind}"


def _checked(where: Path, parts: Sequence[Rows], names: Sequence[str]) -> Dataset:
    for rows in parts:
        counts = torch.bincount(rows.labels, minlength=len(names))
        if len(counts) > len(names):
            raise LTBenchError(f"{where}: label {len(counts) - 1} is out of 0..{len(names) - 1}")
        if (counts == 0).any():
            missing = names[int((counts == 0).nonzero()[0])]
            raise LTBenchError(f"{where}: class {missing} has no images in one split")
    if len(names) < 2:
        raise LTBenchError(f"{where} has one class; there is nothing to tell apart")
    twin = next((name for k, name in enumerate(names) if name in names[:k]), None)
    if twin is not None:
        raise LTBenchError(f"{where}: two classes of one name, {twin!r}; rename one of them")
    if len(parts) == 2 and parts[0].inputs.shape[1:] != parts[1].inputs.shape[1:]:
        raise LTBenchError(
            f"{where}: images to train on are {list(parts[0].inputs.shape[1:])}, "
            f"to test on {list(parts[1].inputs.shape[1:])}"
        )
    return Dataset(parts[0], tuple(names), parts[1] if len(parts) == 2 else None)
