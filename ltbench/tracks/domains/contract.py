"""What the track grants methods, and how they count rows by domain and class.

There is no further hook: `run.groups` and `Batch.groups` are the domains of the rows at hand.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ltbench.contract.context import Batch, Grants, Run

GROUPS = "groups"
"""What a method needs that tells the domains of training rows."""

TEST_GROUPS = "test_groups"
"""What a method needs that asks for the domain of each row that it decides, as `run.groups`."""


ANNOTATOR = "annotator"
"""What a method needs that asks whether two images differ in their object, `run.granted`'s
`annotate`; there is such an expert where a protocol knows what goes with classes without being
part of them."""

PLANTED = 0.3  # of what two images differ by, above which they do so in what was planted


@dataclass(frozen=True, kw_only=True)
class DomainGrants(Grants):
    """What the track grants: `cells` [G, C], the training rows of each class in each domain.

    They are those of the protocol, before a method resampled; 0 where a cell has none. `corner`
    is the side of a square that marks some domain, and 0 without one.
    """

    cells: Tensor
    corner: int = 0

    def annotate(self, before: Tensor, after: Tensor) -> Tensor:
        """Whether the object is another one [N] in two images [N, C, H, W], which an expert says.

        It is not, where more than `PLANTED` of what they differ by lies within the corner.
        """
        change = (after - before).abs()
        planted = change[:, :, : self.corner, : self.corner].flatten(1).sum(dim=1)
        return planted <= PLANTED * change.flatten(1).sum(dim=1)


def groups_of(run: Run, labels: Tensor) -> Tensor:
    """The domains [N] of the rows whose labels [N] a hook was given; 0 where rows have none."""
    return torch.zeros_like(labels) if run.groups is None else run.groups


def groups_in(batch: Batch) -> Tensor:
    """The domains [N] of the labelled rows of a batch, of its first targets; 0 without any."""
    return batch.groups[0] if batch.groups else torch.zeros_like(batch.rows)


def domains_of(run: Run) -> int:
    """How many domains there are to train on; one where rows have none."""
    return len(run.granted.cells) if hasattr(run.granted, "cells") else 1


def cells_of(run: Run) -> Tensor:
    """The rows [G, C] of each class in each domain of those that the phase draws from.

    Where rows have no domains, as outside of a track that gives such, they are of one.
    """
    if run.train is None or run.train.groups is None:
        return run.exact_counts[None]
    places = cell_of(run.train.groups, run.train.labels, run.num_classes)
    cells = places.bincount(minlength=domains_of(run) * run.num_classes)
    return cells.view(-1, run.num_classes).to(run.counts)


def cell_of(groups: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """The number [N] of each row's cell: domain after domain, class after class."""
    return groups * num_classes + labels
