"""The rows of a cell: cut for each domain out of a source, and made to look like it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.functional import InterpolationMode, rgb_to_grayscale, rotate

from ltbench.contract.context import Chosen, Rows
from ltbench.datasets import Dataset
from ltbench.errors import LTBenchError
from ltbench.protocols.imbalance import shuffled_classes
from ltbench.tracks.classification import Parts
from ltbench.tracks.domains.problem import Domain, Domains

Index = NDArray[np.int64]
OWN = 1  # beside a seed, the stream of orders that domains draw for themselves
TOLD = 5  # classes that a note names


@dataclass(frozen=True)
class Cut:
    """The rows of a cell, with `groups` from 0 in the order of `names`.

    `cells` [G, C] are those to train on. A domain that is held out comes last, with rows of 0.
    """

    parts: Parts
    names: tuple[str, ...]
    cells: Index
    held_out: bool = False

    @property
    def seen(self) -> Index:
        """The cells of the domains that are trained on."""
        return self.cells[:-1] if self.held_out else self.cells


def merged(dataset: Dataset, classes: dict[str, tuple[str, ...]]) -> Dataset:
    """A data set some of whose classes are one under a new name; the others are left out.

    Raises:
        UnknownName: there is no such class.
    """
    members = [name for names in classes.values() for name in names]
    few = dataset.of_classes(members)
    new = torch.arange(len(classes)).repeat_interleave(
        torch.tensor([len(names) for names in classes.values()])
    )
    train, test = (
        rows if rows is None else replace(rows, labels=new[rows.labels])
        for rows in (few.train, few.test)
    )
    assert train is not None
    return Dataset(train, tuple(classes), test, dataset.fingerprint, dataset.notes)


def cut(protocol: Domains, dataset: Dataset, seed: int) -> Cut:
    """The rows of the cell of one seed.

    Raises:
        LTBenchError: the data are not the protocol's, or have too few rows for it.
    """
    data = protocol.data
    if data.fingerprint not in ("any", dataset.fingerprint):
        raise LTBenchError(
            f"{data.source} has fingerprint {dataset.fingerprint}, but {protocol.name} is of "
            f"{data.fingerprint}; the data are others"
        )
    if (dataset.test is None) == (data.test_per_class is None):
        has = "no test split" if dataset.test is None else "a test split of its own"
        raise LTBenchError(f"{protocol.name}: {data.source} has {has}; mend test_per_class")
    made = _of_domains if protocol.domains else _as_grouped
    return made(protocol, dataset, seed)


def tails(protocol: Domains, num_classes: int, seed: int) -> Index:
    """The training rows [G, C] that a protocol states, of each class in each of its domains.

    Raises:
        LTBenchError: a class is left without rows, or counts are of other classes.
    """
    imbalance = protocol.imbalance
    tail = np.array(imbalance.class_counts([0] * num_classes), dtype=np.int64)
    if len(tail) != num_classes:
        raise LTBenchError(
            f"{protocol.name} counts {len(tail)} classes, but {protocol.data.source} has "
            f"{num_classes}"
        )
    order, own = np.arange(num_classes), np.random.RandomState([OWN, seed])
    if imbalance.class_order == "seed":
        order = np.random.RandomState(seed).permutation(num_classes)
    cells = []
    for domain in protocol.domains:
        drawn = own.permutation(num_classes)
        cells.append(_tail(domain, tail, order, drawn, protocol))
    return np.stack(cells)


def _tail(domain: Domain, tail: Index, order: Index, drawn: Index, protocol: Domains) -> Index:
    """The rows [C] of one domain; `order` and `drawn` [C] are the place of each class in a tail."""
    if domain.counts:
        if len(domain.counts) != len(tail):
            raise LTBenchError(
                f"domain {domain.name} of {protocol.name} counts {len(domain.counts)} classes, but "
                f"{protocol.data.source} has {len(tail)}"
            )
        return np.array(domain.counts, dtype=np.int64)
    counts = {
        "forward": tail[order],
        "backward": tail[::-1][order],
        "own": tail[drawn],
        "balanced": np.full_like(tail, tail.max()),
    }
    found: Index = counts[domain.tail]
    return found


def _of_domains(protocol: Domains, dataset: Dataset, seed: int) -> Cut:
    """Domains that are made of a source, whose images are in one of them each."""
    data, domains = protocol.data, list(protocol.domains)
    labels = dataset.train.labels.numpy()
    num_classes = len(dataset.classes)
    cells = tails(protocol, num_classes, seed)
    if protocol.held_out == "seed":
        unseen = seed % len(domains)
        domains.append(domains.pop(unseen))
        cells = np.concatenate([np.delete(cells, unseen, 0), np.zeros_like(cells[:1])])
    _refuse_empty(protocol, dataset.classes, domains, cells)
    held = data.test_per_class or 0
    aside = (protocol.validation_per_cell or 0) * (cells.sum(1, keepdims=True) > 0)
    blocks = np.stack([cells, np.broadcast_to(aside, cells.shape)])  # [2, G, C]
    wanted = blocks.sum((0, 1))
    draw_seed = seed if protocol.imbalance.draw == "seed" else 0
    classes = shuffled_classes(labels, num_classes, draw_seed)
    for c, rows in enumerate(classes):
        if len(rows) < wanted[c] + held:
            raise LTBenchError(
                f"class {dataset.classes[c]} of {data.source} has {len(rows)} rows; the domains of "
                f"{protocol.name} ask for {wanted[c]} and its test split for {held}"
            )
    ends = blocks.reshape(-1, num_classes).cumsum(0).reshape(blocks.shape)

    def chosen(k: int) -> list[list[Index]]:
        """The positions of the rows of one kind, by domain and class."""
        return [
            [rows[end - n : end] for rows, end, n in zip(classes, *of_domain, strict=True)]
            for of_domain in zip(ends[k], blocks[k], strict=True)
        ]

    test = [rows[len(rows) - held :] for rows in classes]
    make = partial(_made, domains)
    return Cut(
        Parts(
            train=make(dataset.train, chosen(0)),
            validation=make(dataset.train, chosen(1)) if protocol.validation_per_cell else None,
            test=lambda: make(*_tested(protocol, dataset, test)),
            class_counts=cells.sum(0).tolist(),
        ),
        tuple(domain.name for domain in domains),
        cells,
        protocol.held_out == "seed",
    )


def _tested(
    protocol: Domains, dataset: Dataset, held: list[Index]
) -> tuple[Rows, list[list[Index]]]:
    """The rows that test images come from, and the positions of those of each domain, by class."""
    rows, classes = dataset.train, held
    if dataset.test is not None:
        rows = dataset.test
        labels = rows.labels.numpy()
        classes = [np.flatnonzero(labels == c) for c in range(len(dataset.classes))]
    number = len(protocol.domains)
    if protocol.tested == "parted":
        return rows, [[positions[g::number] for positions in classes] for g in range(number)]
    return rows, [classes] * number


def _made(domains: Sequence[Domain], rows: Rows, chosen: list[list[Index]]) -> Rows:
    """Rows at positions of each domain and class, looking like their domain, one after the other.

    Rows of class c of the first domain come first, so that they stand as one block each.
    """
    parts, groups, labels = [], [], []
    for group, (domain, classes) in enumerate(zip(domains, chosen, strict=True)):
        index = torch.from_numpy(np.concatenate(classes))
        parts.append(seen_as(domain, rows.inputs_at(index)))
        labels.append(rows.labels[index])
        groups.append(torch.full_like(index, group))
    return Rows(torch.cat(parts), torch.cat(labels), groups=torch.cat(groups))


def seen_as(domain: Domain, inputs: Tensor) -> Tensor:
    """Images [N, C, H, W] as they look in a domain: bytes, or numbers from 0 to 1."""
    if domain.turned or domain.colours != "kept" or domain.corner:
        _refuse_no_images(inputs)
    if domain.turned and len(inputs):
        inputs = rotate(inputs, domain.turned, InterpolationMode.BILINEAR)
    white = 1 if inputs.is_floating_point() else 255
    if domain.colours == "inverted":
        inputs = white - inputs
    if domain.colours == "grey" and inputs.shape[1] == 3:
        inputs = rgb_to_grayscale(inputs, num_output_channels=3)
    if domain.corner:
        if domain.corner > min(inputs.shape[2:]):
            raise LTBenchError(
                f"a corner of {domain.corner} pixels does not fit images of "
                f"{list(inputs.shape[2:])}"
            )
        inputs = inputs.clone()
        inputs[:, :, : domain.corner, : domain.corner] = white
    return inputs


def _refuse_no_images(inputs: Tensor) -> None:
    if inputs.dim() != 4:
        raise LTBenchError(f"rows of {list(inputs.shape[1:])} are no images that could be turned")
    if inputs.is_floating_point() and len(inputs) and (inputs.min() < 0 or inputs.max() > 1):
        raise LTBenchError(
            f"images from {inputs.min():g} to {inputs.max():g} cannot be made those of a domain; "
            "they must be bytes, or lie in [0, 1]"
        )


def _as_grouped(protocol: Domains, dataset: Dataset, seed: int) -> Cut:
    """A source as it is, whose rows have groups."""
    test, counts = dataset.test, []
    assert test is not None
    if dataset.train.groups is None or test.groups is None:
        raise LTBenchError(
            f"rows of {protocol.data.source} have no groups; state [[domains]] to make some of it, "
            "or [metadata] where a file tells them"
        )
    number = 1 + int(max(dataset.train.groups.max(), test.groups.max()))
    if number < 2:
        raise LTBenchError(f"all rows of {protocol.data.source} are of one group; it needs two")
    given = getattr(dataset, "group_names", ())
    names = given or tuple(map(str, range(number)))
    num_classes = len(dataset.classes)
    for rows in (dataset.train, test):
        assert rows.groups is not None
        place = rows.groups * num_classes + rows.labels
        counts.append(place.bincount(minlength=number * num_classes).view(number, -1).numpy())
    _refuse_empty(protocol, dataset.classes, names, counts[0])
    parts = Parts(
        train=Chosen.out_of(dataset.train, torch.arange(len(dataset.train))),
        validation=None,
        test=lambda: test,
        class_counts=counts[0].sum(0).tolist(),
    )
    return Cut(parts, names, counts[0])


def _refuse_empty(
    protocol: Domains, classes: Sequence[str], domains: Sequence[Domain | str], cells: Index
) -> None:
    names = [one if isinstance(one, str) else one.name for one in domains]
    seen = len(names) - (protocol.held_out == "seed")
    for name, rows in zip(names[:seen], cells, strict=False):
        if not rows.sum():
            raise LTBenchError(f"domain {name} of {protocol.name} has no training rows; drop it")
    for name, rows in zip(classes, cells.T, strict=True):
        if not rows.sum():
            raise LTBenchError(f"class {name} has no training rows in any domain; drop it")


def lacking(what: str, names: Sequence[str], cells: Index, classes: Sequence[str]) -> list[str]:
    """What is to be said of cells [G, C] without rows of a kind, such as training."""
    told = []
    for name, rows in zip(names, cells, strict=False):
        none = [classes[c] for c in np.flatnonzero(rows == 0).tolist()]
        if none:
            more = f" and {len(none) - TOLD} more" if len(none) > TOLD else ""
            told.append(f"domain {name} has no {what} rows of class {', '.join(none[:TOLD])}{more}")
    return told
