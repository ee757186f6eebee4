"""Views: raw rows as the network takes them, plain or augmented, a batch at once."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench.augmentation import siamese


@dataclass(frozen=True)
class Views:
    """How raw inputs [N, ...] become the network's.

    Bytes are divided by 255; then `mean` and `std`, one a channel, standardise. An augmented view
    is cut at random out of the image with `padding` black pixels around it, or is a part of it
    scaled up where `resize` says so, and is turned over with probability one half for `flip`. With
    a `strategy` it is instead one of that many operations on the image, with strengths of its own;
    they come after standardising, so that strengths are in standard deviations and what is moved
    in or cut out is the mean colour, as in the code of distribution matching.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    padding: int = 0
    flip: bool = False
    resize: bool = False
    channels_last: bool = False
    strategy: tuple[str, ...] = ()

    def plain(self, inputs: Tensor) -> Tensor:
        """The view that predictions are made from."""
        return self._laid_out(self.standardised(inputs))

    def augmented(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
        """A view to train on, drawn afresh for each row."""
        if self.strategy:
            drawn = siamese.drawn(self.strategy, len(inputs), rng)
            return self._laid_out(drawn(self.standardised(inputs)))
        if self.resize:
            inputs = resized(inputs, rng)
        elif self.padding or self.flip:
            inputs = shifted(inputs, self.padding, self.flip, rng)
        return self.plain(inputs)

    def alike(self, rng: torch.Generator) -> Callable[[Tensor], Tensor]:
        """One view to train on, the same for all rows that it is then given.

        It lets gradients through. Parts scaled up are left whole.
        """
        if self.strategy:
            drawn = siamese.drawn(self.strategy, 1, rng)
            return lambda inputs: self._laid_out(drawn(self.standardised(inputs)))
        steps = [siamese.drawn(("flip",), 1, rng)] if self.flip else []
        if self.padding:
            chance = torch.rand(siamese.CHANCES, 1, 1, 1, 1, generator=rng, device=rng.device)
            steps.append(lambda x: siamese.moved(x, chance.to(x.dtype), self.padding))

        def view(inputs: Tensor) -> Tensor:
            inputs = self.pixels(inputs)
            for step in steps:
                inputs = step(inputs)
            return self.plain(inputs)

        return view

    def pixels(self, inputs: Tensor) -> Tensor:
        """Stored inputs as numbers; bytes become shares of 255."""
        return inputs.float() / 255 if inputs.dtype == torch.uint8 else inputs

    def standardised(self, inputs: Tensor) -> Tensor:
        """Stored inputs less the mean, in standard deviations; as they are without these."""
        inputs = self.pixels(inputs)
        if not self.mean:
            return inputs
        mean, std = _by_channel(self.mean, self.std, inputs.dim(), inputs.dtype, inputs.device)
        return (inputs - mean) / std

    def _laid_out(self, inputs: Tensor) -> Tensor:
        """The same numbers in the order in memory that the protocol asks for."""
        if self.channels_last and inputs.dim() == 4:
            return inputs.contiguous(memory_format=torch.channels_last)
        return inputs


@cache
def _by_channel(
    mean: tuple[float, ...],
    std: tuple[float, ...],
    dimensions: int,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Both as [1, C, 1, ...]; kept, so that no step waits for them to reach a device."""
    shape = (1, -1, *[1] * (dimensions - 2))
    values = torch.tensor([mean, std], dtype=dtype, device=device)
    return values[0].reshape(shape), values[1].reshape(shape)


def resized(images: Tensor, rng: torch.Generator) -> Tensor:
    """A part of each image [N, C, H, W] at its full size, and maybe flipped.

    The part has between 0.08 and 1 of the area and sides between 3:4 and 4:3, as is customary for
    ImageNet (Szegedy et al., arXiv:1409.4842).
    """
    n, device = len(images), images.device
    area, aspect, left, top, turn = torch.rand(5, n, generator=rng, device=device)
    area = 0.08 + 0.92 * area
    ratio = torch.exp((2 * aspect - 1) * math.log(4 / 3))
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    matrix = torch.zeros(n, 2, 3, device=device)
    matrix[:, 0, 0] = torch.where(turn < 0.5, -width, width)
    matrix[:, 1, 1] = height
    matrix[:, 0, 2] = (1 - width) * (2 * left - 1)
    matrix[:, 1, 2] = (1 - height) * (2 * top - 1)
    pixels = images.float()
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    part = F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
    return part / 255 if images.dtype == torch.uint8 else part


def shifted(images: Tensor, padding: int, flip: bool, rng: torch.Generator) -> Tensor:
    """Each image [N, C, H, W] moved by up to `padding` pixels and maybe flipped, in one gather."""
    n, channels, height, width = images.shape
    device = images.device
    draws = torch.randint(2 * padding + 1, (2, n, 1), generator=rng, device=device)
    rows = draws[0] + torch.arange(height, device=device)
    columns = torch.arange(width, device=device).expand(n, width)
    if flip:
        turned = torch.rand(n, 1, generator=rng, device=device) < 0.5
        columns = torch.where(turned, columns.flip(1), columns)
    columns = columns + draws[1]
    padded = F.pad(images, [padding] * 4)
    index = (rows[:, :, None] * (width + 2 * padding) + columns[:, None, :]).flatten(1)
    moved = padded.flatten(2).gather(2, index[:, None].expand(n, channels, height * width))
    return moved.reshape(images.shape)
