"""Boosting of trees for rare classes: rows are resampled in each round, or mistakes have costs.

RUSBoost: Seiffert et al., IEEE TSMC-A 2010. SMOTEBoost: Chawla et al., PKDD 2003. AdaCost: Fan et
al., ICML 1999. All three are here on AdaBoost.M2 (Freund & Schapire, ICML 1996), as the first two
are in their papers.
"""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.tree import DecisionTreeClassifier

from ltbench import Integer, LTBenchError, Method, Positive, hookimpl
from ltbench_plugins.tables.balanced_bags import (
    Count,
    balanced,
    between,
    by_class,
    chance,
    expect_learner,
    nearest_within,
    taken,
    trained,
)


class RUSBoost(Method):
    """Boosts trees, each on as many rows of every class as the rarest has.

    They are drawn anew in each round, without replacement, and keep their boosting weights. These
    belong to the original rows, all of which judge a tree. A tree that does no better than chance
    under the weights is dropped, and the next round draws anew, up to twice `members` rounds;
    AdaBoost.M2 stops there. Fewer than half the members are an error. Takes the place of a
    decision tree, whose parameters it keeps but for the depth; ten members are our choice.
    """

    name = "rusboost"
    reference = "doi:10.1109/TSMCA.2009.2029559"
    corrects = "prior"
    models = frozenset({"estimator"})
    space = {"depth": Integer(1, 6)}

    def __init__(self, members: Count = 10, depth: Count = 3):
        self.members = members
        self.depth = depth

    def build(self, model, run):
        return RUSBoosted(tree(self, model), self.members, chance(run))


class SMOTEBoost(Method):
    """Boosts trees, each on all rows and on new ones that bring every class to the largest's size.

    New rows are SMOTE's, made anew in each round, and weigh what the row does that they start
    from; the original rows alone judge a tree. The paper sets how many per data set. A tree that
    does no better than chance is dropped, as by rusboost. Takes the place of a decision tree.
    """

    name = "smoteboost"
    reference = "doi:10.1007/978-3-540-39804-2_12"
    corrects = "prior"
    models = frozenset({"estimator"})
    space = {"depth": Integer(1, 6), "neighbours": Integer(2, 10)}

    def __init__(self, members: Count = 10, depth: Count = 3, neighbours: Count = 5):
        self.members = members
        self.depth = depth
        self.neighbours = neighbours

    def build(self, model, run):
        base = tree(self, model)
        return SMOTEBoosted(base, self.members, chance(run), self.neighbours, run.train.categorical)


class AdaCost(Method):
    """Boosts trees with costs: dear rows weigh more at first, rise faster and fall more slowly.

    `costs` has one for each class, by default n / (C n_c); they are scaled so that the dearest
    class's is 1, as in the paper. Rows begin at the weight of their cost c, and the step of a
    weight is multiplied by (1 + c) / 2 where the tree is wrong and (1 - c) / 2 where it is right.
    In the paper that factor is in the tree's vote, too, which ends boosting early, as what is right
    in the dearest class then counts for nothing; votes are AdaBoost's here. Going by AdaBoost.M2,
    for any number of classes, is our extension. Takes the place of a decision tree.
    """

    name = "adacost"
    reference = "Fan et al., ICML 1999"
    corrects = "prior"
    models = frozenset({"estimator"})
    space = {"depth": Integer(1, 6)}

    def __init__(
        self, members: Count = 10, depth: Count = 3, costs: tuple[Positive, ...] | None = None
    ):
        self.members = members
        self.depth = depth
        self.costs = costs

    def build(self, model, run):
        if self.costs is not None and len(self.costs) != run.num_classes:
            raise LTBenchError(f"adacost: {len(self.costs)} costs for {run.num_classes} classes")
        return AdaCostBoosted(tree(self, model), self.members, chance(run), self.costs)


def tree(method, model):
    """The base learner at the method's depth, where it is a decision tree."""
    expect_learner(model, DecisionTreeClassifier, f"{method.name} boosts decision trees")
    return clone(model).set_params(max_depth=method.depth)


class Boosted(ClassifierMixin, BaseEstimator):
    """AdaBoost.M2: weights stand on pairs of a row and a class that is wrong for it.

    A member's margin for a pair is the probability of the right class less that of the wrong one,
    its edge the weighted mean margin, its vote arctanh(edge). The edge is kept from 1 by a row's
    share, as Schapire & Singer smooth it, so that a tree without mistakes has a vote, too.
    """

    def __init__(self, estimator, members=10, random_state=None):
        self.estimator = estimator
        self.members = members
        self.random_state = random_state

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        rng = np.random.default_rng(self.random_state)
        own = y[:, None] == self.classes_
        costs = self.row_costs(y)
        weight = np.where(
            own, 0, costs if sample_weight is None else costs * sample_weight[:, None]
        )
        weight /= weight.sum()
        present = self.presenter(X, y, rng)
        self.members_, self.votes_ = [], []
        for _ in range(2 * self.members):
            member = trained(self.estimator, *present(weight.sum(axis=1)), rng)
            scores = member.predict_proba(X)
            margin = scores[own][:, None] - scores
            edge = min((weight * margin).sum(), 1 - 1 / len(y))
            if edge < 1e-9:  # but for rounding no better than chance
                continue
            self.members_.append(member)
            self.votes_.append(np.arctanh(edge))
            if len(self.members_) == self.members:
                return self
            weight *= np.exp(-self.votes_[-1] * self.tempered(margin, costs))
            weight /= weight.sum()
        if 2 * len(self.members_) < self.members:
            raise LTBenchError(
                f"boosting kept {len(self.members_)} of {self.members} trees, as the others do no "
                "better than chance under its weights; try another depth"
            )
        return self

    def row_costs(self, y):
        """The cost [N, 1] of a mistake on each row."""
        return np.ones((len(y), 1))

    def presenter(self, X, y, rng):
        """A function of the weights [N] that gives the rows of a round, with their weights."""
        return lambda weight: (X, y, weight)

    def tempered(self, margin, costs):
        """The step of each weight, in votes."""
        return margin

    def predict_proba(self, X):
        scores = [member.predict_proba(X) for member in self.members_]
        return np.average(scores, axis=0, weights=self.votes_)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


class RUSBoosted(Boosted):
    """The classifier of RUSBoost."""

    def presenter(self, X, y, rng):
        classes = by_class(y)
        return lambda weight: taken(balanced(classes, rng), X, y, weight)


class SMOTEBoosted(Boosted):
    """The classifier of SMOTEBoost."""

    def __init__(self, estimator, members=10, random_state=None, neighbours=5, categorical=()):
        super().__init__(estimator, members, random_state)
        self.neighbours = neighbours
        self.categorical = categorical

    def presenter(self, X, y, rng):
        classes = by_class(y)
        largest = max(map(len, classes))
        near = nearest_within(X, classes, self.neighbours)

        def present(weight):
            bag = [(X, y, weight)]
            for rows, neighbours in zip(classes, near, strict=True):
                start = rng.choice(len(rows), largest - len(rows))
                new = between(X[rows], neighbours, start, self.categorical, rng)
                bag.append((new, y[rows[start]], weight[rows[start]]))
            return [np.concatenate(parts) for parts in zip(*bag, strict=True)]

        return present


class AdaCostBoosted(Boosted):
    """The classifier of AdaCost."""

    def __init__(self, estimator, members=10, random_state=None, costs=None):
        super().__init__(estimator, members, random_state)
        self.costs = costs

    def row_costs(self, y):
        place = np.searchsorted(self.classes_, y)
        costs = 1 / np.bincount(place) if self.costs is None else np.array(self.costs)
        return (costs / costs.max())[place][:, None]

    def tempered(self, margin, costs):
        return margin * (1 - costs * np.sign(margin)) / 2


@hookimpl
def register_methods(register):
    register(RUSBoost)
    register(SMOTEBoost)
    register(AdaCost)
