"""Bagging on balanced bags, and what the ensembles of tables share.

UnderBagging: Barandela et al., Pattern Analysis and Applications 2003. SMOTEBagging: Wang & Yao,
CIDM 2009.
"""

from typing import Annotated

import numpy as np
import torch
from msgspec import Meta
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.validation import has_fit_parameter

from ltbench import Method, hookimpl
from ltbench.errors import Unmet

Count = Annotated[int, Meta(ge=1)]


class UnderBagging(Method):
    """Averages learners on balanced bags: the rarest class whole, a bootstrap of each other.

    A bag has as many rows of each class as the rarest has; classes of that size stay whole. That
    the others are drawn with replacement is our reading, in which this differs from easy-ensemble.
    """

    name = "under-bagging"
    reference = "doi:10.1007/s10044-003-0192-z"
    corrects = "prior"
    models = frozenset({"estimator"})

    def __init__(self, members: Count = 10):
        self.members = members

    def build(self, model, run):
        return UnderBags(for_bags(model, run), self.members, chance(run))


class SMOTEBagging(Method):
    """Averages learners on bags in which every class has as many rows as the largest.

    Of each class the share a of these rows is a bootstrap of its own; the others are new ones by
    SMOTE. a rises by even steps over the members, from 0.1 to 1 with the paper's ten; the largest
    class is a bootstrap always. A class with too few rows for `neighbours` uses all the others it
    has; a single row is repeated. Categories stay in the vocabulary, as ltbench has it for SMOTE.
    """

    name = "smote-bagging"
    reference = "doi:10.1109/CIDM.2009.4938667"
    corrects = "prior"
    models = frozenset({"estimator"})

    def __init__(self, members: Count = 10, neighbours: Count = 5):
        self.members = members
        self.neighbours = neighbours

    def build(self, model, run):
        return SMOTEBags(model, self.members, chance(run), self.neighbours, run.train.categorical)


class Averaged(ClassifierMixin, BaseEstimator):
    """Clones of `estimator`, each on a bag that `grow` draws, whose probabilities are averaged."""

    def __init__(self, estimator, members=10, random_state=None):
        self.estimator = estimator
        self.members = members
        self.random_state = random_state

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        self.members_ = []
        self.grow(X, y, sample_weight, np.random.default_rng(self.random_state))
        return self

    def add(self, X, y, weight, rng):
        """Trains one more member, and gives it back."""
        self.members_.append(trained(self.estimator, X, y, weight, rng))
        return self.members_[-1]

    def predict_proba(self, X):
        return np.mean([member.predict_proba(X) for member in self.members_], axis=0)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


class UnderBags(Averaged):
    """The classifier of UnderBagging."""

    def grow(self, X, y, weight, rng):
        for _ in range(self.members):
            self.add(*taken(balanced(by_class(y), rng, replace=True), X, y, weight), rng)


class SMOTEBags(Averaged):
    """The classifier of SMOTEBagging."""

    def __init__(self, estimator, members=10, random_state=None, neighbours=5, categorical=()):
        super().__init__(estimator, members, random_state)
        self.neighbours = neighbours
        self.categorical = categorical

    def grow(self, X, y, weight, rng):
        if weight is not None:
            raise Unmet("smote-bagging makes rows that have no weight; leave out what weighs rows")
        classes = by_class(y)
        near = nearest_within(X, classes, self.neighbours)
        largest = max(map(len, classes))
        labels = self.classes_.repeat(largest)
        for i in range(self.members):
            bag = []
            for rows, neighbours in zip(classes, near, strict=True):
                share = 1 if len(rows) == largest else (i + 1) / self.members
                old = rng.choice(len(rows), round(share * largest))
                start = rng.choice(len(rows), largest - len(old))
                own = X[rows]
                bag += [own[old], between(own, neighbours, start, self.categorical, rng)]
            self.add(np.concatenate(bag), labels, None, rng)


def chance(run):
    """A seed for a classifier, drawn from the run's generator."""
    return int(torch.randint(2**31 - 1, (), generator=run.rng))


def expect_learner(model, kind, claim):
    """Refuses any base learner that is not of this kind, which `claim` says why."""
    if not isinstance(model, kind):
        raise Unmet(f"{claim}; the learner here is {type(model).__name__}")


def for_bags(model, run):
    """The learner; where balanced bags are too small for its neighbours, those of one class."""
    counts = run.counts if run.train is None else run.train.labels.bincount()
    fewest, wanted = int(counts.min()), model.get_params().get("n_neighbors", 1)
    if wanted <= fewest * len(counts):
        return model
    run.note(f"bags of {fewest * len(counts)} rows: {fewest} of {wanted} neighbours")
    return clone(model).set_params(n_neighbors=fewest)


def trained(estimator, X, y, weight, rng):
    """A clone of `estimator` with chance of its own, trained on these rows."""
    member = clone(estimator)
    seeds = [name for name in sorted(member.get_params()) if name.endswith("random_state")]
    member.set_params(**{name: int(rng.integers(2**31 - 1)) for name in seeds})
    if weight is None:
        return member.fit(X, y)
    if not has_fit_parameter(member, "sample_weight"):
        raise Unmet(f"{type(member).__name__} weighs no rows; leave out what weighs rows")
    return member.fit(X, y, sample_weight=weight)


def taken(rows, *arrays):
    """These rows of each array; None stays None."""
    return [None if array is None else array[rows] for array in arrays]


def by_class(y):
    """The positions of the rows of each class."""
    return [np.flatnonzero(y == c) for c in np.unique(y)]


def balanced(classes, rng, replace=False):
    """As many of the positions of each class as the rarest has, drawn; of the rarest all."""
    fewest = min(map(len, classes))
    return np.concatenate(
        [rows if len(rows) == fewest else rng.choice(rows, fewest, replace) for rows in classes]
    )


def nearest_within(X, classes, neighbours):
    """For each class the nearest others [n, k] of its rows, as many as there are.

    A single row is its own neighbour. The largest class, which needs no new rows, goes without.
    """
    near, largest = [], max(map(len, classes))
    for rows in classes:
        k = min(neighbours, len(rows) - 1)
        if k == 0 or len(rows) == largest:
            near.append(np.zeros((1, 1), dtype=int))
        else:
            near.append(NearestNeighbors(n_neighbors=k).fit(X[rows]).kneighbors()[1])
    return near


def between(x, near, start, categorical, rng):
    """New rows, each on the way from a row of `start` to one of its neighbours.

    In each of the `categorical` blocks the largest value becomes 1 and the others 0.
    """
    towards = near[start, rng.integers(near.shape[1], size=len(start))]
    way = rng.random((len(start), 1)).astype(x.dtype)
    new = x[start] + way * (x[towards] - x[start])
    for block in categorical:
        new[:, block] = np.eye(new[:, block].shape[1])[new[:, block].argmax(axis=1)]
    return new


@hookimpl
def register_methods(register):
    register(UnderBagging)
    register(SMOTEBagging)
