"""Self-paced ensemble: bags go from easy rows to an even mix of all (Liu et al., ICDE 2020)."""

import numpy as np

from ltbench import Integer, Method, hookimpl
from ltbench_plugins.tables.balanced_bags import (
    Averaged,
    Count,
    balanced,
    by_class,
    chance,
    for_bags,
    taken,
)


class SelfPacedEnsemble(Method):
    """Averages learners on balanced bags in which hard rows of large classes grow more common.

    Member 0 sees a random balanced bag. For member i, the hardness of a row is |1 - p| with p its
    class's probability by the members so far; it falls into one of `bins` of equal width, and a bin
    counts 1 / (its mean hardness + tan(pi i / (2 (members - 1)))), at the end all bins alike. So
    many rows are drawn of each bin, without replacement; what one is short of, others give.

    The paper has two classes. That every class larger than the rarest is drawn down by its own p,
    and the rarest kept whole, is our extension. The authors' packages depart from the paper where
    this does not: they count a member with p = 0 before the first, and the older one draws with
    replacement, a row more of each bin.
    """

    name = "self-paced-ensemble"
    reference = "arXiv:1909.03500"
    corrects = "prior"
    models = frozenset({"estimator"})
    space = {"bins": Integer(2, 20)}

    def __init__(self, members: Count = 10, bins: Count = 5):
        self.members = members
        self.bins = bins

    def build(self, model, run):
        return SelfPacedBags(for_bags(model, run), self.members, chance(run), self.bins)


class SelfPacedBags(Averaged):
    """The classifier of SelfPacedEnsemble."""

    def __init__(self, estimator, members=10, random_state=None, bins=5):
        super().__init__(estimator, members, random_state)
        self.bins = bins

    def grow(self, X, y, weight, rng):
        classes = by_class(y)
        own = np.searchsorted(self.classes_, y)[:, None]
        rows = balanced(classes, rng)
        total = 0
        for i in range(1, self.members + 1):
            member = self.add(*taken(rows, X, y, weight), rng)
            if i == self.members:
                return
            total = total + np.take_along_axis(member.predict_proba(X), own, axis=1)[:, 0]
            alpha = np.tan(np.pi * i / (2 * (self.members - 1)))
            rows = self.paced(classes, abs(1 - total / i), alpha, rng)

    def paced(self, classes, hardness, alpha, rng):
        """As many positions of each class as the rarest has, drawn by the bins of hardness."""
        fewest, drawn = min(map(len, classes)), []
        for rows in classes:
            place = bin_of(hardness[rows], self.bins)
            weights = bin_weights(hardness[rows], place, self.bins, alpha)
            numbers = numbers_drawn(weights, np.bincount(place, minlength=self.bins), fewest)
            for b, number in enumerate(numbers):
                drawn.append(rng.permutation(rows[place == b])[:number])
        return np.concatenate(drawn)


def bin_of(hardness, bins):
    """The bin of each hardness, of equal width from the least to the greatest."""
    height = (hardness - hardness.min()) / max(np.ptp(hardness), 1e-12)
    return np.minimum((bins * height).astype(int), bins - 1)


def bin_weights(hardness, place, bins, alpha):
    """The weight of each bin, 1 / (mean hardness + alpha); 0 where it has no rows."""
    sizes = np.bincount(place, minlength=bins)
    means = np.bincount(place, hardness, minlength=bins) / np.maximum(sizes, 1)
    return np.where(sizes > 0, 1 / np.maximum(means + alpha, 1e-12), 0)


def numbers_drawn(weights, sizes, total):
    """How many rows to draw of each bin, in proportion to the weights and no more than it has.

    Row after row goes to the bin that is most behind (the rule of Sainte-Lague).
    """
    drawn = np.zeros(len(sizes), dtype=int)
    for _ in range(min(total, sum(sizes))):
        drawn[np.where(drawn < sizes, weights / (drawn + 0.5), -1).argmax()] += 1
    return drawn


@hookimpl
def register_methods(register):
    register(SelfPacedEnsemble)
