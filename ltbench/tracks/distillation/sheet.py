"""Distilled images beside real ones, as a picture: classes from head to tail."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ltbench.contract.context import Rows
from ltbench.errors import LTBenchError

SIDE = 32  # the least that an image is shown at, in pixels
GAP = 2
LINE = 14  # the height of a line of text


def sheet(real: Rows, made: Rows, counts: Sequence[int], names: Sequence[str]) -> Image.Image:
    """A column for each class, most frequent first: its name, its rows and count, real, then made.

    As many real images are shown as there are made ones.

    Raises:
        LTBenchError: the rows are no images.
    """
    if made.inputs.dim() != 4 or made.inputs.shape[1] not in (1, 3):
        raise LTBenchError(f"rows of {list(made.inputs.shape[1:])} are no images to show")
    order = sorted(range(len(counts)), key=lambda c: -counts[c])
    most = int(made.labels.bincount().max())
    times = max(1, -(-SIDE // made.inputs.shape[3]))
    low, high = real.inputs.min(), real.inputs.max()
    height, width = (side * times + GAP for side in made.inputs.shape[2:])
    below = 2 * LINE + most * height + 2 * GAP
    picture = Image.new("RGB", (len(order) * width + GAP, below + most * height + GAP), "white")
    pen = ImageDraw.Draw(picture)
    for column, c in enumerate(order):
        left = GAP + column * width
        pen.text((left, 1), names[c][: width // 6], fill="black")
        pen.text((left, LINE), str(counts[c]), fill="gray")
        for rows, top in ((real, 2 * LINE), (made, below)):
            for k, image in enumerate(rows.inputs[rows.labels == c][:most]):
                shown = _picture(image, float(low), float(high), times)
                picture.paste(shown, (left, top + k * height))
    return picture


def _picture(image: Tensor, low: float, high: float, times: int) -> Image.Image:
    shares = (image.float() - low) / max(high - low, 1e-12)
    colours = shares.expand(3, -1, -1).permute(1, 2, 0)
    pixels = (255 * colours).round().clamp(0, 255).to(torch.uint8).numpy()
    return Image.fromarray(np.kron(pixels, np.ones((times, times, 1), dtype=np.uint8)))
