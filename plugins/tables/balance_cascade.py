"""BalanceCascade: what is well classified leaves the larger classes (Liu et al., TSMC-B 2009)."""

import numpy as np

from ltbench import Method, hookimpl
from ltbench_plugins.tables.balanced_bags import (
    Averaged,
    Count,
    balanced,
    by_class,
    chance,
    for_bags,
    taken,
)


class BalanceCascade(Method):
    """Averages learners on balanced bags from pools that lose their best classified rows.

    After each member a class of n rows, where the rarest has m, keeps the share
    f = (m / n) ** (1 / (members - 1)) of its pool, those to which that member gives the least
    probability of their class, so that m are left for the last. Rows of equal probability leave by
    lot. The paper boosts on each bag and subtracts the thresholds that keep f; here each member is
    the base learner, and probabilities are averaged. That each class larger than the rarest has a
    pool of its own is our extension to more than two. The package imbalanced-ensemble keeps
    (m / n) ** (1 / members) of a pool, already before a member has judged it.
    """

    name = "balance-cascade"
    reference = "doi:10.1109/TSMCB.2008.2007853"
    corrects = "prior"
    models = frozenset({"estimator"})

    def __init__(self, members: Count = 10):
        self.members = members

    def build(self, model, run):
        return CascadeBags(for_bags(model, run), self.members, chance(run))


class CascadeBags(Averaged):
    """The classifier of BalanceCascade."""

    def grow(self, X, y, weight, rng):
        pools = by_class(y)
        fewest = min(map(len, pools))
        sizes = [pool_sizes(len(pool), fewest, self.members) for pool in pools]
        own = np.searchsorted(self.classes_, y)[:, None]
        for i in range(self.members):
            member = self.add(*taken(balanced(pools, rng), X, y, weight), rng)
            if i + 1 < self.members:
                right = np.take_along_axis(member.predict_proba(X), own, axis=1)[:, 0]
                pools = [
                    pool[least(right[pool], size[i + 1], rng)]
                    for pool, size in zip(pools, sizes, strict=True)
                ]


def pool_sizes(rows, rarest, members):
    """How many of a class's rows each member draws from: at first all, at last the rarest's."""
    keep = (rarest / rows) ** (1 / max(members - 1, 1))
    return [round(rows * keep**i) for i in range(members)]


def least(values, number, rng):
    """The positions of so many of the least values; equal ones are chosen by lot."""
    order = rng.permutation(len(values))
    return np.sort(order[values[order].argsort(kind="stable")[:number]])


@hookimpl
def register_methods(register):
    register(BalanceCascade)
