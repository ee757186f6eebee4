"""Strong views of images: so far from the stored one that a network must learn to see through."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench.augmentation import siamese
from ltbench.augmentation.views import Views

TURN, SCALE, SHEAR, SHIFT = math.radians(25), 0.25, 0.25, 1 / 8
NOISE, HOLE = 0.15, 3 / 8  # of a pixel's range; of a side
OPERATIONS = 2  # of a siamese strategy, one after the other


def strongly(name: str, inputs: Tensor, views: Views, rng: torch.Generator) -> Tensor:
    """Stored images [N, C, H, W] in the strong view of a name, as a network takes them."""
    if name == "affine":
        return views.plain(affine(views.pixels(inputs), rng))
    images = views.plain(inputs)
    for _ in range(OPERATIONS):
        images = siamese.drawn(siamese.STRATEGIES[name], len(images), rng)(images)
    return images


def affine(images: Tensor, rng: torch.Generator) -> Tensor:
    """Each image of pixels in [0, 1] turned by up to 25 degrees, scaled and sheared by up to a
    quarter, moved by up to an eighth of a side, with noise and a square cut out; all black outside.
    """
    n, _, height, width = images.shape
    chance = torch.rand(8, n, generator=rng, device=rng.device).to(images)
    either = 2 * chance - 1
    angle = TURN * either[0]
    across, down = 1 + SCALE * either[1], 1 + SCALE * either[2]
    shear = SHEAR * either[3]
    sine, cosine = angle.sin(), angle.cos()
    first = torch.stack([across * cosine, shear * cosine - down * sine, 2 * SHIFT * either[4]])
    second = torch.stack([across * sine, shear * sine + down * cosine, 2 * SHIFT * either[5]])
    matrix = torch.stack([first, second]).permute(2, 0, 1)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, align_corners=False)
    noise = torch.randn(moved.shape, generator=rng, device=rng.device).to(moved)
    noisy = (moved + NOISE * noise).clamp(0, 1)
    rows = torch.arange(height, device=images.device)[:, None] + 0.5
    columns = torch.arange(width, device=images.device)[None, :] + 0.5
    top, left = (chance[k].view(-1, 1, 1, 1) * side for k, side in ((6, height), (7, width)))
    hole = ((rows - top).abs() <= HOLE * height / 2) & ((columns - left).abs() <= HOLE * width / 2)
    return noisy * ~hole
