"""Scenes: 2x2 cells with images of several classes, made of a source of one label a row."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench.contract.context import Rows
from ltbench.datasets import Dataset
from ltbench.tracks.composing import counts_of, images_of_all
from ltbench.tracks.multilabel.problem import CELLS, MultiLabel, Scenes
from ltbench.training.engine import stream_seed


def scenes_of(protocol: MultiLabel, dataset: Dataset, seed: int) -> tuple[Rows, Rows]:
    """The scenes to train on and those to test on; no image is part of both.

    Raises:
        LTBenchError: the source does not fit.
    """
    scenes, classes = protocol.scenes, len(dataset.classes)
    assert scenes is not None
    apart = images_of_all(protocol, dataset, seed)
    counts = counts_of(protocol, classes, f"{protocol.data.source} has", seed)
    even, turn = torch.ones(classes), torch.arange(scenes.test) % classes
    parts = (
        (apart[0], torch.arange(classes).repeat_interleave(counts), counts.float(), "scenes"),
        (apart[1], turn, even, "test scenes"),
    )
    made = []
    for (rows, lists), first, law, stream in parts:
        chance = torch.Generator().manual_seed(stream_seed(seed, stream))
        chosen = labels_of(first, law, scenes, chance)
        made.append(composed(rows, lists, chosen, scenes.side, chance))
    return made[0], made[1]


def labels_of(first: Tensor, law: Tensor, scenes: Scenes, chance: torch.Generator) -> Tensor:
    """The classes [N, 4] of scenes whose primaries are `first` [N]; -1 is a cell without one.

    Further ones are drawn by a law [C], without repetition: the largest of logarithms with Gumbel
    noise are a draw of that kind.
    """
    borders = torch.tensor(scenes.cumulated[:-1])
    number = (torch.rand(len(first), 1, generator=chance) >= borders).sum(dim=1)
    noise = torch.rand(len(first), len(law), generator=chance).clamp(min=1e-12)
    keys = law.log() - (-noise.log()).log()
    keys[torch.arange(len(first)), first] = torch.inf
    wanted = min(len(law), CELLS**2)
    chosen = keys.topk(wanted, dim=1).indices
    chosen = chosen.masked_fill(torch.arange(wanted) > number[:, None], -1)
    return F.pad(chosen, (0, CELLS**2 - wanted), value=-1)


def composed(
    images: Rows, lists: Sequence[Tensor], chosen: Tensor, side: int | None, chance: torch.Generator
) -> Rows:
    """Scenes of the classes `chosen` [N, 4], in cells by chance; their labels [N, C] are 0 and 1.

    `lists` are the rows of each class among `images`, any of which comes equally often.
    """
    sizes = torch.tensor([len(rows) for rows in lists])
    starts, rows = sizes.cumsum(0) - sizes, torch.cat(list(lists))
    chance_of_row = torch.rand(chosen.shape, generator=chance, dtype=torch.float64)
    cells = torch.rand(chosen.shape, generator=chance).argsort(dim=1)
    place, cell = (chosen >= 0).nonzero(as_tuple=True)
    classes = chosen[place, cell]
    picked = starts[classes] + (chance_of_row[place, cell] * sizes[classes]).long()
    tiles = shrunk(images.inputs_at(rows[picked]), side)
    channels, height, width = tiles.shape[1:]
    canvas = tiles.new_zeros(len(chosen), CELLS**2, channels, height, width)
    canvas[place, cells[place, cell]] = tiles
    canvas = canvas.view(-1, CELLS, CELLS, channels, height, width).permute(0, 3, 1, 4, 2, 5)
    labels = torch.zeros(len(chosen), len(lists))
    labels[place, classes] = 1
    return Rows(canvas.reshape(len(chosen), channels, CELLS * height, CELLS * width), labels)


def shrunk(images: Tensor, side: int | None) -> Tensor:
    """Images [N, C, H, W], averaged down to a side; bytes stay bytes."""
    if side is None:
        return images
    small = F.adaptive_avg_pool2d(images.float(), side)
    return small if images.is_floating_point() else small.round().to(images.dtype)
