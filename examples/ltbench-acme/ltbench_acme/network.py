"""A network of a package's own: means over rings around the middle of an image, and a layer."""

from typing import Annotated

import torch
from msgspec import Meta, Struct
from torch import nn


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """How many rings there are, and the width of the layer behind them."""

    rings: Annotated[int, Meta(ge=2)] = 4
    width: Annotated[int, Meta(ge=1)] = 32


class Rings(nn.Module):
    """Sees of an image [C, H, W] its mean over each ring and each quarter of it."""

    def __init__(self, shape, num_classes, options):
        super().__init__()
        channels, height, width = shape
        y, x = torch.meshgrid(
            torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij"
        )
        ring = (torch.maximum(x.abs(), y.abs()) * options.rings).long().clamp(max=options.rings - 1)
        part = 4 * ring + 2 * (y > 0).long() + (x > 0).long()
        masks = nn.functional.one_hot(part.flatten(), 4 * options.rings).float()
        self.register_buffer("masks", masks / masks.sum(0).clamp(min=1))
        self.layer = nn.Linear(channels * 4 * options.rings, options.width)
        self.head = nn.Linear(options.width, num_classes)

    def features(self, x):
        return self.layer((x.flatten(2) @ self.masks).flatten(1)).relu()
