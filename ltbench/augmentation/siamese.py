"""Differentiable views of images, drawn for each image or for all alike.

DSA: Zhao and Bilen, ICML 2021 (arXiv:2102.08259). The operations and their strengths are those
with which distribution matching was published, and so is that they are given standardised images;
each call draws one operation of a strategy. Zero, which is moved in and put where a square is cut
out, is then the mean of each channel.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

CHANCES = 3  # numbers in [0, 1) that an operation is given for an image

STRATEGIES = {
    "siamese": ("colour", "crop", "cutout", "flip", "scale", "rotate"),
    "siamese-upright": ("colour", "crop", "cutout", "scale", "rotate"),  # a mirrored 2 is no 2
}


def drawn(strategy: Sequence[str], images: int, rng: torch.Generator) -> Callable[[Tensor], Tensor]:
    """One operation of a strategy, ready to be applied, with chances for so many images.

    With chances for one image it does the same to however many it is given.
    """
    which = int(torch.randint(len(strategy), (), generator=rng, device=rng.device))
    chance = torch.rand(CHANCES, images, 1, 1, 1, generator=rng, device=rng.device)
    return lambda x: OPERATIONS[strategy[which]](x, chance.to(x.dtype))


def colour(x: Tensor, chance: Tensor) -> Tensor:
    """Brightness moved by up to a half, saturation times up to 2, contrast times 0.5 to 1.5."""
    brightness, saturation, contrast = chance
    x = x + (brightness - 0.5)
    grey = x.mean(dim=1, keepdim=True)
    x = (x - grey) * (2 * saturation) + grey if x.shape[1] > 1 else x
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    contrasted: Tensor = (x - mean) * (contrast + 0.5) + mean
    return contrasted


def crop(x: Tensor, chance: Tensor) -> Tensor:
    """Moved by up to an eighth of a side, over zeros."""
    return moved(x, chance, round(x.shape[2] / 8))


def moved(x: Tensor, chance: Tensor, padding: int) -> Tensor:
    """Moved by up to `padding` pixels along both axes, over zeros."""
    n, channels, height, width = x.shape
    offsets = (chance[:2, :, :, 0, 0] * (2 * padding + 1)).long()
    rows = offsets[0] + torch.arange(height, device=x.device)
    columns = offsets[1] + torch.arange(width, device=x.device)
    index = (rows[:, :, None] * (width + 2 * padding) + columns[:, None, :]).flatten(1)
    padded = F.pad(x, [padding] * 4).flatten(2)
    if len(index) == 1:
        return padded[:, :, index[0]].reshape(x.shape)
    return padded.gather(2, index[:, None].expand(n, channels, -1)).reshape(x.shape)


def cutout(x: Tensor, chance: Tensor) -> Tensor:
    """A square of zeros of half the side, its centre anywhere in the image."""
    height, width = x.shape[2:]
    rows = torch.arange(height, device=x.device)[:, None] + 0.5
    columns = torch.arange(width, device=x.device)[None, :] + 0.5
    inside = ((rows - chance[0] * height).abs() <= height / 4) & (
        (columns - chance[1] * width).abs() <= width / 4
    )
    return x * ~inside


def flip(x: Tensor, chance: Tensor) -> Tensor:
    """Mirrored, in half of the cases."""
    return torch.where(chance[0] < 0.5, x.flip(3), x)


def scale(x: Tensor, chance: Tensor) -> Tensor:
    """Each side by a factor of its own between 1 / 1.2 and 1.2."""
    across, down = (1 / 1.2 + c.flatten() * (1.2 - 1 / 1.2) for c in chance[:2])
    zero = torch.zeros_like(across)
    return _sampled(x, torch.stack([across, zero, zero, zero, down, zero], dim=1))


def rotate(x: Tensor, chance: Tensor) -> Tensor:
    """Turned by up to 15 degrees either way."""
    angle = (2 * chance[0].flatten() - 1) * math.radians(15)
    sine, cosine, zero = angle.sin(), angle.cos(), torch.zeros_like(angle)
    return _sampled(x, torch.stack([cosine, -sine, zero, sine, cosine, zero], dim=1))


def _sampled(x: Tensor, matrix: Tensor) -> Tensor:
    matrix = matrix.reshape(-1, 2, 3).expand(len(x), 2, 3)
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "colour": colour,
    "crop": crop,
    "cutout": cutout,
    "flip": flip,
    "scale": scale,
    "rotate": rotate,
}
