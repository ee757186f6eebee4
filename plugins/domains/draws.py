"""Draws that even out domains, classes, or cells of both; and sets cut to the smallest of these.

Equal domains: what the code of DomainBed (Gulrajani & Lopez-Paz, ICLR 2021) does for every method.
ReSamp: the code of BoDA (Yang et al., ECCV 2022). RWY, RWG, SUBY, SUBG: Idrissi et al., CLeaR 2022.
"""

import torch

from ltbench import Method, hookimpl
from ltbench.tracks.domains.contract import cell_of, cells_of
from ltbench_plugins.sampling.oversampling import Oversampling


class EqualDomains(Method):
    """Draws every domain equally often: a row of domain d with a probability that goes with 1/n_d.

    Departure: the code draws the same number from each for every batch, here that is so on average.
    """

    name = "equal-domains"
    reference = "arXiv:2007.01434"
    needs = frozenset({"groups"})

    def sampling_weights(self, labels, run):
        return (1 / cells_of(run).sum(dim=1))[groups_in(run, labels)]


class DomainResampling(Method):
    """Draws domains equally often, and classes within each: 1 / (n_dc C_d) for a row of its cell.

    C_d are the classes that domain d has. A batch has equal domains on average, as `equal-domains`.
    """

    name = "domain-resampling"
    reference = "arXiv:2203.09513"
    needs = frozenset({"groups"})
    corrects = "prior"

    def sampling_weights(self, labels, run):
        cells = cells_of(run)
        classes = (cells > 0).sum(dim=1, keepdim=True)
        return (1 / (cells * classes)).flatten()[
            cell_of(groups_in(run, labels), labels, run.num_classes)
        ]


class RWG(Method):
    """Draws every cell, a class in a group, equally often: a row with 1 / n_gc.

    A draw, not weights of the loss, as in the code.
    """

    name = "rwg"
    reference = "arXiv:2110.14503"
    needs = frozenset({"groups"})
    corrects = "prior"

    def sampling_weights(self, labels, run):
        own = cell_of(groups_in(run, labels), labels, run.num_classes)
        return (1 / cells_of(run)).flatten()[own]


class RWY(Oversampling):
    """Draws every class equally often: `oversampling`, by its name among draws of groups."""

    name = "rwy"
    reference = "arXiv:2110.14503"


class SUBG(Method):
    """Keeps as many rows of each cell, a class in a group, as the smallest has, drawn once.

    A cell without rows keeps none. Training takes as many steps as plain training does.
    """

    name = "subg"
    reference = "arXiv:2110.14503"
    needs = frozenset({"groups"})
    corrects = "prior"

    def resample(self, train, run):
        groups = torch.zeros_like(train.labels) if train.groups is None else train.groups
        return cut_to_smallest(train, cell_of(groups, train.labels, run.num_classes), run)


class SUBY(Method):
    """Keeps as many rows of each class as the smallest has, drawn once: SUBG without groups."""

    name = "suby"
    reference = "arXiv:2110.14503"
    corrects = "prior"

    def resample(self, train, run):
        return cut_to_smallest(train, train.labels, run)


def alike_in_each_domain(labels, run):
    """How likely a row [N] is to be drawn where domains are alike, and classes in each of them."""
    cells = cells_of(run)
    classes = (cells > 0).sum(dim=1, keepdim=True)
    own = cell_of(groups_in(run, labels), labels, run.num_classes)
    return (1 / (cells * classes)).flatten()[own]


def cut_to_smallest(train, kinds, run):
    """The first rows of each kind [N] in a random order, as many as the rarest kind has."""
    order = torch.randperm(len(train), generator=run.rng, device=run.device)
    return train[order[places(kinds[order]) < kinds.bincount()[kinds.unique()].min()]]


def places(kinds):
    """How many rows of its own kind stand before each row [N]."""
    by_kind = kinds.argsort(stable=True)
    starts = kinds.bincount().cumsum(0) - kinds.bincount()
    place = torch.empty_like(kinds)
    place[by_kind] = torch.arange(len(kinds), device=kinds.device) - starts[kinds[by_kind]]
    return place


def groups_in(run, labels):
    """The groups [N] of the rows that are drawn from; 0 where rows have none."""
    if run.train is None or run.train.groups is None:
        return torch.zeros_like(labels)
    return run.train.groups


@hookimpl
def register_methods(register):
    register(EqualDomains)
    register(DomainResampling)
    register(RWG)
    register(RWY)
    register(SUBG)
    register(SUBY)
