"""Picture files as arrays of bytes: what a file says beside its pixels is decided here."""

import errno
import io
import math
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.Image import Transpose

from ltbench.contract.context import Rows
from ltbench.datasets import cache_folder
from ltbench.errors import LTBenchError
from ltbench.texts import line, readable

Bytes = NDArray[np.uint8]
Source = tuple[str, Callable[[], bytes], Any]  # what to call the image, its bytes, its label

GREY = ("1", "L", "LA")
CHUNK = 1000  # images that a thread decodes at a stretch
MOST_OF_MEMORY = 0.5  # of what is free, that the images of one split may take
MOST_PIXELS = 62_000_000  # of one image, as of the largest cameras of 35 mm; more is a mistake
ORIENTATION = 0x0112  # where EXIF says how a picture is to be turned
TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
NOTES = {
    "grey": "grey, and read as colour images like the others",
    "transparent": "transparent in parts, and laid on white",
    "turned": "turned as their EXIF data say",
    "frames": "of several frames, of which the first was read",
    "cmyk": "CMYK, and read as RGB",
    "deep": "of 16 bits a channel, of which the upper 8 were read",
}


@dataclass(frozen=True)
class Split:
    """The images of one split, and where they stand; labels are whole numbers from 0."""

    where: Path
    images: Sequence[Source]


class _Coloured(Exception):
    """A colour image among grey ones."""


def decoded(splits: Sequence[Split], size: int | None) -> tuple[list[Rows], list[str]]:
    """The rows of each split, bytes [N, C, H, W], and notes on what was made of them.

    All images have one size, or are cut to `size`. One channel if all are grey, else three.

    Raises:
        LTBenchError: an image or a label is wrong; names it.
    """
    for split in splits:
        _refuse_labels(split)
    coloured = _image(splits[0].images[0], size)[0].ndim == 3
    made: Counter[str] = Counter()
    try:
        parts = [_part(split, size, coloured, made) for split in splits]
    except _Coloured:
        made.clear()
        parts = [_part(split, size, True, made) for split in splits]
    if parts[0].inputs.shape[1] == 1:
        del made["grey"]  # as all are
    total = sum(map(len, parts))
    return parts, [f"{made[k]} of {total} images are {NOTES[k]}" for k in NOTES if made[k]]


def _refuse_labels(split: Split) -> None:
    rows = len(split.images)
    if not rows:
        raise LTBenchError(f"{readable(str(split.where))} holds no images")
    for name, _, label in split.images:
        if not (type(label) is int and 0 <= label < rows):
            raise LTBenchError(
                f"{name} has label {label!r}; labels are whole numbers from 0 without a gap, so "
                f"below {rows} here"
            )


def _part(split: Split, size: int | None, coloured: bool, made: Counter[str]) -> Rows:
    """The rows of a split; what was made of its images is added up in `made`."""
    images = split.images
    first = _image(images[0], size)[0]
    channels = 3 if coloured else 1
    what = f"{len(images)} images like {images[0][0]}, {_shape(first)},"
    pixels = room((len(images), channels, *first.shape[:2]), what)

    def decode(start: int) -> Counter[str]:
        found: Counter[str] = Counter()
        for position, source in enumerate(images[start : start + CHUNK], start):
            image, what = _image(source, size)
            if image.shape[:2] != first.shape[:2]:
                raise LTBenchError(
                    f"{source[0]} is {_shape(image)}, but {images[0][0]} is {_shape(first)}; "
                    "images must be alike, or a size must be given: size in a protocol's [data], "
                    "--size for ltbench info"
                )
            if image.ndim == 3 and not coloured:
                raise _Coloured
            pixels[position] = np.moveaxis(image, 2, 0) if image.ndim == 3 else image
            found.update(what)
        return found

    with ThreadPoolExecutor() as threads:
        for found in threads.map(decode, range(0, len(images), CHUNK)):
            made.update(found)
    labels = torch.tensor([label for _, _, label in images])
    return Rows(torch.from_numpy(pixels), labels)


def room(shape: tuple[int, ...], what: str) -> Bytes:
    """Room for bytes of a shape: in memory, or on disk where they would take most of what is free.

    On disk they stand in a file of the cache folder that nobody else sees and that is gone with the
    process; batches are read from it as they are asked for, and what was read gives way in memory.

    Raises:
        LTBenchError: there is none of either.
    """
    size, free = math.prod(shape), _free_memory()
    if free is None or size <= free * MOST_OF_MEMORY:
        try:
            return np.empty(shape, dtype=np.uint8)
        except MemoryError:
            pass
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if size > shutil.disk_usage(folder).free:
            raise OSError(errno.ENOSPC, "no room")
        with tempfile.TemporaryFile(dir=folder) as file:
            file.truncate(size)
            return np.memmap(file, dtype=np.uint8, mode="r+", shape=shape)
    except OSError as error:
        raise LTBenchError(
            f"{what} take {size / 2**30:.1f} GiB, which neither memory nor {folder} has room for "
            f"({line(error)}); give a size to which they are cut, or LTBENCH_CACHE a larger folder"
        ) from None


def _free_memory() -> int | None:
    """The bytes of memory that could be had, where the system tells."""
    try:
        for told in Path("/proc/meminfo").read_text().splitlines():
            if told.startswith("MemAvailable:"):
                return 1024 * int(told.split()[1])
    except (OSError, ValueError):
        pass
    return None


def _image(source: Source, size: int | None) -> tuple[Bytes, set[str]]:
    """The pixels of a picture, [H, W] or [H, W, 3], and which of the `NOTES` are true of it."""
    name, data, _ = source
    try:
        with Image.open(io.BytesIO(data())) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise LTBenchError(
                    f"{name} is {opened.width} x {opened.height}, which is too large; "
                    f"at most {MOST_PIXELS // 10**6} million pixels are read"
                )
            image, what = _meant(name, opened)
            return np.asarray(image if size is None else _cut(name, image, size)), what
    except LTBenchError:
        raise
    except UnidentifiedImageError:
        raise LTBenchError(f"{name} is not an image") from None
    # What Pillow raises over a damaged file is anybody's guess.
    except Exception as error:
        raise LTBenchError(f"{name} cannot be read as an image: {line(error)}") from None


def _meant(name: str, opened: Image.Image) -> tuple[Image.Image, set[str]]:
    """A picture as it is meant to be seen, grey or RGB, and what was made of it."""
    deep = any(";16" in str(part) for part in getattr(opened, "tile", ()))
    grey = opened.mode in GREY
    if opened.mode.startswith(("I", "F")) or (deep and grey):
        raise LTBenchError(f"{name} has more than 8 bits a channel; make it an 8-bit image")
    several = opened.format != "MPO" and getattr(opened, "n_frames", 1) > 1
    turned = _orientation(opened) in TURNS
    opened.load()
    what = {
        "deep": deep,
        "frames": several,
        "turned": turned,
        "cmyk": opened.mode == "CMYK",
        "grey": grey,
    }
    image: Image.Image = opened
    if opened.has_transparency_data:
        image = opened.convert("RGBA")
        what["transparent"] = image.getchannel("A").getextrema()[0] != 255
        if what["transparent"]:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if grey else "RGB")
    if turned and _orientation(opened) in TURNS:  # Pillow may have turned it by now
        image = image.transpose(TURNS[_orientation(opened)])
    return image, {key for key, true in what.items() if true}


def _orientation(opened: Image.Image) -> int:
    try:
        return int(opened.getexif().get(ORIENTATION, 1))
    # Damaged EXIF data are passed over, as a viewer does.
    except Exception:
        return 1


def _cut(name: str, image: Image.Image, size: int) -> Image.Image:
    """The middle square of the image scaled to 8 / 7 of `size`, so of 224 out of 256 pixels."""
    side = round(size * 8 / 7)
    scale = side / min(image.size)
    width, height = (max(side, round(length * scale)) for length in image.size)
    if width * height > MOST_PIXELS:
        raise LTBenchError(
            f"{name} is {image.width} x {image.height}, which is too narrow to be cut to {size}"
        )
    image = image.resize((width, height))
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


def _shape(image: Bytes) -> str:
    kind = "grey" if image.ndim == 2 else "colour"
    return f"{image.shape[1]} x {image.shape[0]}, {kind}"
