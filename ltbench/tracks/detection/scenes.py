"""Scenes with boxes, made of the images of a source of one label a row, and windows of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench.contract.context import Rows
from ltbench.datasets import Dataset
from ltbench.errors import LTBenchError
from ltbench.tracks.composing import counts_of, images_of_all
from ltbench.tracks.detection.boxes import Boxes, Integers, overlaps
from ltbench.tracks.detection.problem import Detection, Scenes, of_windows
from ltbench.tracks.detection.scores import RIGHT
from ltbench.training.engine import stream_seed

APART = 0.3  # of intersection over union, from which on a window is no background to train on
TRIES = 20  # places at which an image is tried; the first that overlaps no other is taken


@dataclass(frozen=True)
class Pictures:
    """Scenes [S, channels, side, side] and their boxes."""

    images: Tensor
    boxes: Boxes


@dataclass(frozen=True)
class Law:
    """Where boxes lie: which classes [C] are `clustered`, and the points [C, 2] that these are
    around, in pixels from left and top."""

    clustered: Tensor
    points: Tensor


def scenes_of(protocol: Detection, dataset: Dataset, seed: int) -> tuple[Pictures, Pictures, Law]:
    """The scenes to train on and those to test on, of one law; no image is part of both.

    Raises:
        LTBenchError: the source does not fit.
    """
    scenes, classes = protocol.scenes, len(dataset.classes)
    assert scenes is not None
    training = of_windows(protocol)
    counts = counts_of(training, classes, f"{protocol.data.source} has", seed)
    train, test = images_of_all(training, dataset, seed)
    law = law_of(scenes, counts, seed)
    every = torch.full((classes,), scenes.each)
    parts = ((train, counts, scenes.train, "scenes"), (test, every, scenes.test, "test scenes"))
    made = []
    for (rows, lists), number, pictures, stream in parts:
        if int(number.sum()) > pictures * scenes.most:
            raise LTBenchError(
                f"{protocol.name}: {int(number.sum())} boxes do not fit {pictures} {stream} of up "
                f"to {scenes.most}; state more scenes or fewer boxes"
            )
        chance = torch.Generator().manual_seed(stream_seed(seed, stream))
        labels = in_scenes(number, pictures, scenes.most, chance)
        made.append(composed(rows, lists, labels, placed(labels, law, scenes, chance), scenes))
        made[-1] = noisy(made[-1], scenes, chance)
    return made[0], made[1], law


def law_of(scenes: Scenes, counts: Tensor, seed: int) -> Law:
    """The law of a seed: from the second on every other class along the tail is clustered."""
    chance = torch.Generator().manual_seed(stream_seed(seed, "places"))
    rank = counts.argsort(descending=True, stable=True).argsort()
    points = torch.rand(len(counts), 2, generator=chance) * (scenes.side - 2 * scenes.box)
    return Law(rank % 2 == 1, points + scenes.box)


def in_scenes(counts: Tensor, pictures: int, most: int, chance: torch.Generator) -> Tensor:
    """The classes [S, most] of boxes in scenes, of which there are `counts` [C]; -1 is none."""
    labels = torch.arange(len(counts)).repeat_interleave(counts)
    slots = torch.full((pictures * most,), -1)
    slots[torch.randperm(len(slots), generator=chance)[: len(labels)]] = labels
    return slots.view(pictures, most)


def placed(labels: Tensor, law: Law, scenes: Scenes, chance: torch.Generator) -> Tensor:
    """Left and top [S, most, 2] of the boxes of `labels` [S, most], one after the other.

    Each is tried at some places of its law, of which the first that overlaps no other box of the
    scene is taken, or else the one that overlaps them least.
    """
    pictures, most = labels.shape
    room, box = scenes.side - scenes.box, scenes.box
    corners = torch.zeros(pictures, most, 2, dtype=torch.int64)
    for k in range(most):
        mine = labels[:, k].clamp(min=0)
        evenly = torch.randint(0, room + 1, (pictures, TRIES, 2), generator=chance)
        drawn = torch.randn(pictures, TRIES, 2, generator=chance) * scenes.spread
        near = (law.points[mine][:, None] + drawn - box / 2).round().long().clamp(0, room)
        tried = torch.where(law.clustered[mine][:, None, None], near, evenly)
        apart = (tried[:, :, None] - corners[:, None, :k]).abs()
        shared = (box - apart).clamp(min=0).prod(dim=-1) * (labels[:, None, :k] >= 0)
        cost = shared.sum(dim=-1) * TRIES + torch.arange(TRIES)
        corners[:, k] = tried[torch.arange(pictures), cost.argmin(dim=1)]
    return corners


def composed(
    images: Rows, lists: Sequence[Tensor], labels: Tensor, corners: Tensor, scenes: Scenes
) -> Pictures:
    """Scenes without noise, of the classes `labels` [S, most] with left and top [S, most, 2].

    `lists` are the rows of each class among `images`, which come in turn; where boxes overlap, the
    brighter pixel is seen.
    """
    picture, slot = (labels >= 0).nonzero(as_tuple=True)
    classes, place = labels[picture, slot], corners[picture, slot]
    tiles = shrunk(images.inputs_at(in_turn(lists, classes)), scenes.box)
    channels, side, box = tiles.shape[1], scenes.side, scenes.box
    canvas = tiles.new_zeros(len(labels), channels, side * side)
    down, across = torch.meshgrid(torch.arange(box), torch.arange(box), indexing="ij")
    pixel = (place[:, 1, None, None] + down) * side + place[:, 0, None, None] + across
    flat = canvas.view(-1)
    start = (picture[:, None] * channels + torch.arange(channels)) * side * side
    index = start[:, :, None, None] + pixel[:, None]
    flat.scatter_reduce_(0, index.reshape(-1), tiles.reshape(-1), "amax")
    left_top = place.numpy().astype(np.float64)
    boxes = Boxes(
        picture.numpy(), np.concatenate([left_top, left_top + box], axis=1), classes.numpy()
    )
    return Pictures(canvas.view(len(labels), channels, side, side), boxes)


def in_turn(lists: Sequence[Tensor], classes: Tensor) -> Tensor:
    """A row [M] of each class [M], so that all of a class come once before one comes again."""
    sizes = torch.tensor([len(rows) for rows in lists])
    starts, rows = sizes.cumsum(0) - sizes, torch.cat(list(lists))
    number = classes.bincount(minlength=len(lists))
    order = classes.argsort(stable=True)
    turn = torch.empty_like(classes)
    turn[order] = torch.arange(len(classes)) - (number.cumsum(0) - number)[classes[order]]
    return rows[starts[classes] + turn % sizes[classes]]


def shrunk(images: Tensor, side: int) -> Tensor:
    """Images [N, C, H, W] of pixels from 0 to 1, averaged down to a side where they are larger."""
    scaled = images if images.is_floating_point() else images.float() / 255
    return scaled if scaled.shape[-1] == side else F.adaptive_avg_pool2d(scaled, side)


def noisy(pictures: Pictures, scenes: Scenes, chance: torch.Generator) -> Pictures:
    """The same scenes with Gaussian noise."""
    drawn = torch.randn(pictures.images.shape, generator=chance)
    return Pictures(pictures.images + scenes.noise * drawn, pictures.boxes)


def places(scenes: Scenes) -> np.ndarray:
    """The corners [G, 4] of the boxes in the middle of all windows of a scene."""
    line = np.arange(0, scenes.side - scenes.box + 1, scenes.stride, dtype=np.float64)
    top, left = (grid.ravel() for grid in np.meshgrid(line, line, indexing="ij"))
    return np.stack([left, top, left + scenes.box, top + scenes.box], axis=1)


def windows_of(images: Tensor, scenes: Scenes) -> Tensor:
    """All windows [S, G, channels, window, window] of scenes, which are dark around; a view."""
    wide = F.pad(images, (scenes.margin,) * 4)
    cut = wide.unfold(2, scenes.window, scenes.stride).unfold(3, scenes.window, scenes.stride)
    return cut.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)


def proposals_of(pictures: int, scenes: Scenes) -> Boxes:
    """The boxes of all windows of so many scenes, scene by scene."""
    grid = places(scenes)
    where = np.repeat(np.arange(pictures), len(grid))
    return Boxes(where, np.tile(grid, (pictures, 1)), np.full(len(where), -1))


def rows_of(pictures: Pictures, scenes: Scenes, classes: int, seed: int) -> Rows:
    """Windows to train a detector on, with the class of the box that each overlaps most.

    Those that overlap one by half or more are there, and some of the others, whose label is
    `classes`.
    """
    labels, most = overlapped(pictures, scenes, classes)
    chance = torch.Generator().manual_seed(stream_seed(seed, "background"))
    luck = torch.rand(most.shape, generator=chance).masked_fill(most >= APART, -1)
    number = min(scenes.background, luck.shape[1])
    others = torch.zeros_like(most, dtype=torch.bool)
    others.scatter_(1, luck.topk(number, dim=1).indices, True)
    chosen = (most >= RIGHT) | (others & (luck >= 0))
    told = torch.where(most >= RIGHT, labels, classes)
    return Rows(windows_of(pictures.images, scenes)[chosen], told[chosen])


def overlapped(pictures: Pictures, scenes: Scenes, classes: int) -> tuple[Tensor, Tensor]:
    """The class [S, G] of the box that each window overlaps most, and by how much it does."""
    grid, boxes = places(scenes), pictures.boxes
    most = np.zeros((len(pictures.images), len(grid)))
    labels = np.full(most.shape, classes, dtype=np.int64)
    for mine in in_rounds(boxes.pictures):
        alike = overlaps(boxes.corners[mine][:, None], grid)
        rows = boxes.pictures[mine]
        better = alike > most[rows]
        labels[rows] = np.where(better, boxes.labels[mine][:, None], labels[rows])
        most[rows] = np.maximum(most[rows], alike)
    return torch.from_numpy(labels), torch.from_numpy(most)


def in_rounds(pictures: Integers) -> list[Integers]:
    """The places of boxes, at most one of each picture in a round."""
    order = np.argsort(pictures, kind="stable")
    held = np.bincount(pictures)
    turn = np.arange(len(order)) - np.repeat(held.cumsum() - held, held)
    return [order[turn == k] for k in range(int(held.max(initial=0)))]
