"""Bags made of a source of one image a row, with what each place of them holds."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ltbench.contract.context import Rows
from ltbench.datasets import Dataset
from ltbench.errors import LTBenchError, UnknownName
from ltbench.tracks.bags.problem import Bags, Drawn, Planted
from ltbench.tracks.composing import Images, counts_of, images_apart
from ltbench.training.engine import stream_seed

MOST = 1000  # times as many bags are drawn as are wanted, before a class is given up


@dataclass(frozen=True)
class Made:
    """Bags as rows with a mask [N, L], and which of their instances are witnesses [N, L]."""

    rows: Rows
    witnesses: Tensor


def classes_of(protocol: Bags, dataset: Dataset) -> tuple[str, ...]:
    """The classes of the bags that a protocol makes, or that a source has."""
    if protocol.planted is not None:
        return protocol.planted.witnesses
    if protocol.drawn is not None:
        return (f"no {protocol.drawn.witness}", protocol.drawn.witness)
    return dataset.classes


def made_of(protocol: Bags, dataset: Dataset, seed: int) -> tuple[Made, Made]:
    """The bags to train on and those to test on; no image is part of both.

    Raises:
        LTBenchError: the source does not fit.
    """
    how, classes = protocol.made, classes_of(protocol, dataset)
    assert how is not None
    images = images_apart(protocol, dataset, seed)
    counts = counts_of(protocol, len(classes), "bags have", seed).tolist()
    wanted = counts, [how.test] * len(classes)
    parts = enumerate(zip(images, wanted, strict=True))
    if isinstance(how, Planted):
        train, test = (
            planted(how, dataset, one, counts, stream_seed(seed, f"bags {part}"))
            for part, (one, counts) in parts
        )
    else:
        train, test = (
            drawn(how, dataset, one, counts, np.random.RandomState([seed, part] if part else seed))
            for part, (one, counts) in parts
        )
    return train, test


def place_of(name: str, dataset: Dataset) -> int:
    """Which class of the source is called so."""
    if name not in dataset.classes:
        raise UnknownName("class", name, dataset.classes, where="of the images that bags hold")
    return dataset.classes.index(name)


def planted(how: Planted, dataset: Dataset, images: Images, counts: list[int], seed: int) -> Made:
    """So many bags of each class [C], class after class, with one witness each.

    Raises:
        LTBenchError: a class has no image.
    """
    rows, lists = images
    witnesses, background = (
        [lists[place_of(name, dataset)] for name in names]
        for names in (how.witnesses, how.background)
    )
    for name, one in zip((*how.witnesses, *how.background), (*witnesses, *background), strict=True):
        if not len(one):
            raise LTBenchError(
                f"class {name} has no image for bags to train on, or none for those to test on; "
                "mend test_per_class"
            )
    chance = torch.Generator().manual_seed(seed)
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    others = torch.cat(background)
    chosen = others[torch.randint(len(others), (len(labels), how.length), generator=chance)]
    place = torch.randint(how.length, (len(labels),), generator=chance)
    sizes = torch.tensor([len(one) for one in witnesses])
    starts = sizes.cumsum(0) - sizes
    luck = torch.rand(len(labels), generator=chance, dtype=torch.float64)
    witness = torch.cat(witnesses)[starts[labels] + (luck * sizes[labels]).long()]
    chosen[torch.arange(len(labels)), place] = witness
    x = as_numbers(rows.inputs_at(chosen.flatten()))
    x = x + how.noise * torch.randn(x.shape, generator=chance)
    everywhere = torch.ones(chosen.shape, dtype=torch.bool)
    bags = Rows(x.unflatten(0, chosen.shape), labels, mask=everywhere)
    return Made(bags, F.one_hot(place, how.length).bool())


def drawn(
    how: Drawn,
    dataset: Dataset,
    images: Images,
    counts: list[int],
    random: np.random.RandomState,
) -> Made:
    """So many bags without a witness, and with any, in the order in which they are drawn.

    Raises:
        LTBenchError: bags of a class do not come up.
    """
    rows, lists = images
    usable = torch.cat(lists).sort().values.numpy()
    if not len(usable):
        raise LTBenchError("no image is left for bags to train on; mend test_per_class")
    truth = rows.labels.numpy()[usable] == place_of(how.witness, dataset)
    left, bags, labels = list(counts), [], []
    for number, index in enumerate(by_chance(len(usable), how.mean, how.deviation, random)):
        if not any(left):
            break
        if number > MOST * sum(counts):
            what = f"no {how.witness}" if left[0] else how.witness
            raise LTBenchError(
                f"of {number} bags drawn too few hold {what}: {max(left)} are missing; "
                "change mean, or the witness"
            )
        label = int(truth[index].any())
        if left[label]:
            left[label] -= 1
            bags.append(index)
            labels.append(label)
    lengths = torch.tensor([len(index) for index in bags])
    filled = torch.arange(int(lengths.max())) < lengths[:, None]
    every = np.concatenate(bags)
    x = shrunk(as_numbers(rows.inputs_at(torch.from_numpy(usable[every]))), how.side)
    inputs = x.new_zeros(*filled.shape, *x.shape[1:])
    inputs[filled] = x
    witnesses = torch.zeros_like(filled)
    witnesses[filled] = torch.from_numpy(truth[every])
    return Made(Rows(inputs, torch.tensor(labels), mask=filled), witnesses)


def by_chance(
    images: int, mean: float, deviation: float, random: np.random.RandomState
) -> Iterator[NDArray[np.int64]]:
    """The images of bags without end: for each its length is drawn, then which they are.

    Those are the lists of MNIST-bags in the code of ABMIL, from the same seed.
    """
    while True:
        length = max(int(random.normal(mean, deviation)), 1)
        yield random.randint(0, images, length)


def as_numbers(images: Tensor) -> Tensor:
    """Images as floats; bytes lie in 0 to 1."""
    return images.float() if images.is_floating_point() else images.float() / 255


def shrunk(images: Tensor, side: int | None) -> Tensor:
    """Images [N, C, H, W], averaged down to a side."""
    return images if side is None else F.adaptive_avg_pool2d(images, side)
