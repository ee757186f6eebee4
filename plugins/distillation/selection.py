"""Real rows that stand for each class, and the whole sets that they are measured against.

Herding: Welling, ICML 2009; greedy k-centre: Sener and Savarese, ICLR 2018 (arXiv:1708.00489).
"""

import torch

from ltbench import Method, hookimpl


class Full(Method):
    """Keeps all rows, or with `balanced` as many of every class as the largest has.

    A control, outside of the budget: what a distilled set is a fraction of.
    """

    name = "full"
    reference = "none: a control"
    needs = frozenset({"ipc", "whole"})

    def __init__(self, balanced: bool = False):
        self.balanced = balanced

    def resample(self, train, run):
        return run.granted.whole() if self.balanced else train


class Random(Method):
    """Keeps rows of each class by chance; a class with fewer than the budget repeats its rows."""

    name = "random"
    reference = "none: chance"
    needs = frozenset({"ipc"})
    corrects = "prior"

    def resample(self, train, run):
        return train[by_chance(train.labels, run)]


class Herding(Method):
    """Keeps the rows whose running mean stays closest to the class mean, one after the other.

    Features are those of the first network of the pool, of plain views.
    """

    name = "herding"
    reference = "ICML 2009, Welling"
    needs = frozenset({"ipc"})
    corrects = "prior"

    def resample(self, train, run):
        x, y, means = learned(train, run)
        kept, total = [], torch.zeros_like(means)
        left = torch.zeros_like(x[:, 0])
        for k in range(run.granted.ipc):
            gap = ((total[y] + x) / (k + 1) - means[y]).norm(dim=1) + left
            kept.append(best(gap, y, run))
            left[kept[-1]] = torch.inf
            total += x[kept[-1]]
        return train[torch.stack(kept, dim=1).flatten()]


class KCenter(Method):
    """Keeps the row nearest to the class mean, then always the one farthest from those kept.

    Features are those of the first network of the pool, of plain views.
    """

    name = "kcenter"
    reference = "arXiv:1708.00489"
    needs = frozenset({"ipc"})
    corrects = "prior"

    def resample(self, train, run):
        x, y, means = learned(train, run)
        kept = [best((x - means[y]).norm(dim=1), y, run)]
        nearest = torch.full_like(x[:, 0], torch.inf)
        for _ in range(run.granted.ipc - 1):
            nearest = torch.minimum(nearest, (x - x[kept[-1]][y]).norm(dim=1))
            kept.append(best(-nearest, y, run))
        return train[torch.stack(kept, dim=1).flatten()]


def by_chance(labels, run):
    """Positions of as many rows a class as may be kept, by class; few rows come repeatedly."""
    chance = torch.rand(len(labels), generator=run.rng, device=labels.device)
    return first(chance, labels, run.granted.ipc, run)


def best(key, labels, run):
    """The position [C] of the row of each class with the least key."""
    return first(key, labels, 1, run)


def first(key, labels, rows, run):
    """Positions [C * rows] of the rows of each class with the least keys, in rounds if need be."""
    by_key = key.argsort(stable=True)
    grouped = by_key[labels[by_key].argsort(stable=True)]
    counts = labels.bincount(minlength=run.num_classes)[:, None]
    k = torch.arange(rows, device=labels.device)
    return grouped[counts.cumsum(dim=0) - counts + k % counts].flatten()


@torch.no_grad()
def learned(train, run):
    """The features [N, D] of rows under a network of the pool, their labels, and class means."""
    (_, network), *_ = run.granted.pool()
    parts = [run.through(network, run.plain(part)) for part in train.inputs.split(256)]
    x, y = torch.cat(parts), train.labels
    return x, y, class_means(x, y, run.num_classes)


def class_means(x, y, classes):
    """The mean [C, D] of the rows [N, D] of each class."""
    total = x.new_zeros(classes, x.shape[1]).index_add(0, y, x)
    return total / y.bincount(minlength=classes)[:, None]


@hookimpl
def register_methods(register):
    register(Full)
    register(Random)
    register(Herding)
    register(KCenter)
