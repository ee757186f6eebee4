import pickle

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from ltbench import LTBenchError, Phase, Rows, Run
from ltbench_plugins.tables.balanced_bags import SMOTEBagging, UnderBagging, nearest_within

TREE = DecisionTreeClassifier(random_state=0)
METHODS = [UnderBagging, SMOTEBagging]
TWO, FOUR = (20, 300), (200, 10, 60, 20)
FEW = [(30, 2), (1, 31), (29, 2, 1), (1, 1, 40)]


def run_of(counts, seed=0, categorical=()):
    counts = torch.tensor(counts, dtype=torch.float32)
    run = Run(counts, counts / counts.sum(), torch.zeros(()), Phase("main", 1, 0.0, 0.0), seed=seed)
    run.train = Rows(*map(torch.from_numpy, clouds(counts.int().tolist())), categorical=categorical)
    run.rng.manual_seed(seed)
    return run


def clouds(counts, seed=0, apart=1.5):
    """Gaussian rows, each class moved away from the others along an axis of its own."""
    chance = np.random.default_rng(seed)
    y = chance.permutation(np.arange(len(counts)).repeat(counts))
    X = chance.normal(size=(len(y), 4))
    X[np.arange(len(y)), y] += apart
    return X.astype(np.float32), y


def fitted(method, base, counts, seed=0, **fit):
    model = method.build(base, run_of(counts, seed))
    return model.fit(*clouds(counts), **fit)


def assert_repeatable(method, base, counts):
    """A clone and a pickle give the same probabilities; they are those of all classes in order."""
    first = method.build(base, run_of(counts))
    again = clone(first).fit(*clouds(counts))
    X, _ = clouds([20] * len(counts), seed=1)
    scores = first.fit(*clouds(counts)).predict_proba(X)
    assert scores.shape == (len(X), len(counts))
    np.testing.assert_allclose(scores.sum(axis=1), 1)
    np.testing.assert_array_equal(first.classes_, np.arange(len(counts)))
    np.testing.assert_array_equal(first.predict(X), scores.argmax(axis=1))
    np.testing.assert_array_equal(again.predict_proba(X), scores)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(first)).predict_proba(X), scores)


def gain(method, base, counts, seeds=3):
    """By how much the method's balanced accuracy is above that of the base learner alone."""
    gains = []
    for seed in range(seeds):
        rows, (X, y) = clouds(counts, seed), clouds([500] * len(counts), seed + 100)
        plain = balanced_accuracy_score(y, clone(base).fit(*rows).predict(X))
        model = method.build(base, run_of(counts, seed)).fit(*rows)
        gains.append(balanced_accuracy_score(y, model.predict(X)) - plain)
    return np.mean(gains)


class Recorder(ClassifierMixin, BaseEstimator):
    """Takes the first input for the probability of class 0; keeps the rows it was given."""

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X, y, sample_weight=None):
        self.X_, self.y_, self.weight_ = X, y, sample_weight
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return np.column_stack([X[:, 0], 1 - X[:, 0]])

    def predict(self, X):
        return self.predict_proba(X).argmax(axis=1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("counts", [TWO, FOUR, *FEW])
def test_clones_and_pickles_predict_the_same_for_all_classes(method, counts):
    assert_repeatable(method(), TREE, counts)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("counts", [TWO, FOUR])
def test_rare_classes_gain(method, counts):
    assert gain(method(), TREE, counts) > 0.02


@pytest.mark.parametrize("method", METHODS)
def test_members_differ_in_their_seeds_and_the_base_learner_stays_as_it_is(method):
    base = DecisionTreeClassifier(max_features=1, random_state=7)
    model = fitted(method(), base, TWO)
    seeds = {member.random_state for member in model.members_}
    assert len(seeds) == 10 and 7 not in seeds
    assert base.random_state == 7 and not hasattr(base, "tree_")


@pytest.mark.parametrize("method", METHODS)
def test_another_seed_draws_other_bags(method):
    one, other = (fitted(method(), Recorder(), TWO, seed).members_[0].X_ for seed in (0, 1))
    assert not np.array_equal(one, other)


def test_each_bag_of_under_bagging_is_balanced():
    for member in fitted(UnderBagging(), Recorder(), FOUR).members_:
        assert np.bincount(member.y_).tolist() == [10, 10, 10, 10]


def test_under_bagging_keeps_the_rarest_class_whole_and_bootstraps_the_others():
    X, y = clouds(TWO)
    own = {row.tobytes() for row in X[y == 1]}
    for member in fitted(UnderBagging(), Recorder(), TWO).members_:
        np.testing.assert_array_equal(member.X_[member.y_ == 0], X[y == 0])
        assert all(row.tobytes() in own for row in member.X_[member.y_ == 1])


def test_under_bagging_draws_with_replacement():
    members = fitted(UnderBagging(), Recorder(), (21, 20)).members_
    assert any(len(np.unique(m.X_[m.y_ == 0], axis=0)) < 20 for m in members)


def test_weights_of_rows_go_with_the_rows_into_the_bags():
    X, y = clouds(TWO)
    weight = np.arange(len(y), dtype=float)
    for member in fitted(UnderBagging(), Recorder(), TWO, sample_weight=weight).members_:
        np.testing.assert_array_equal(X[member.weight_.astype(int)], member.X_)


def test_a_learner_that_weighs_no_rows_is_refused_weights():
    with pytest.raises(LTBenchError, match="^KNeighborsClassifier weighs no rows; leave out"):
        fitted(UnderBagging(), KNeighborsClassifier(), TWO, sample_weight=np.ones(sum(TWO)))


def test_smote_bagging_refuses_weights():
    with pytest.raises(LTBenchError, match="^smote-bagging makes rows that have no weight"):
        fitted(SMOTEBagging(), TREE, TWO, sample_weight=np.ones(sum(TWO)))


def test_bags_too_small_for_the_neighbours_of_a_learner_get_fewer_and_the_run_says_so():
    run = run_of((30, 2))
    assert UnderBagging().build(KNeighborsClassifier(), run).estimator.n_neighbors == 2
    assert run.notes == ["bags of 4 rows: 2 of 5 neighbours"]


def test_bags_are_measured_in_the_rows_after_resampling():
    run = run_of((30, 2))
    run.train = Rows(torch.zeros(60, 1), torch.arange(2).repeat(30))
    assert UnderBagging().build(KNeighborsClassifier(), run).estimator.n_neighbors == 5
    assert run.notes == []


def test_every_class_of_a_bag_of_smote_bagging_is_as_large_as_the_largest():
    for member in fitted(SMOTEBagging(), Recorder(), FOUR).members_:
        assert np.bincount(member.y_).tolist() == [200, 200, 200, 200]


def test_the_share_of_own_rows_rises_by_tenths_over_the_members():
    X, _ = clouds(TWO)
    own = {row.tobytes() for row in X}
    members = fitted(SMOTEBagging(), Recorder(), TWO).members_
    rare = [m.X_[m.y_ == 0] for m in members]
    found = [sum(row.tobytes() in own for row in rows) for rows in rare]
    assert found == [30, 60, 90, 120, 150, 180, 210, 240, 270, 300]


def test_the_largest_class_of_smote_bagging_has_own_rows_alone():
    X, _ = clouds(TWO)
    own = {row.tobytes() for row in X}
    for member in fitted(SMOTEBagging(), Recorder(), TWO).members_:
        assert all(row.tobytes() in own for row in member.X_[member.y_ == 1])


def test_new_rows_of_a_class_of_two_lie_between_them():
    X = np.array([[float(i), 0.0] for i in range(20)] + [[0.0, 1.0], [1.0, 3.0]])
    y = np.array([0] * 20 + [1] * 2)
    model = SMOTEBagging().build(Recorder(), run_of((20, 2))).fit(X, y)
    new = np.concatenate([m.X_[m.y_ == 1] for m in model.members_])
    assert new[:, 0].min() >= 0 and new[:, 0].max() <= 1
    np.testing.assert_allclose(new[:, 1], 1 + 2 * new[:, 0])
    assert len(np.unique(new[:, 0])) > 50


def test_a_class_of_one_row_is_repeated_by_smote_bagging():
    X, y = clouds((30, 1))
    for member in fitted(SMOTEBagging(), Recorder(), (30, 1)).members_:
        assert (member.X_[member.y_ == 1] == X[y == 1]).all()


def test_new_rows_have_one_category():
    X, y = clouds(TWO)
    X[:, 1:] = np.eye(3)[np.random.default_rng(0).integers(3, size=len(X))]
    run = run_of(TWO, categorical=(slice(1, 4),))
    model = clone(SMOTEBagging().build(Recorder(), run)).fit(X, y)
    blocks = np.concatenate([member.X_[:, 1:] for member in model.members_])
    assert set(map(tuple, blocks.tolist())) == {(1, 0, 0), (0, 1, 0), (0, 0, 1)}


def test_neighbours_are_the_nearest_others_of_the_class_alone():
    X = np.array([[0.0], [1.0], [3.0], [0.1], [0.2], [0.3], [0.4]])
    near, largest = nearest_within(X, [np.array([0, 1, 2]), np.array([3, 4, 5, 6])], neighbours=1)
    assert near.tolist() == [[1], [0], [1]]
    assert largest.tolist() == [[0]]


def test_inputs_keep_their_precision():
    for member in fitted(SMOTEBagging(), Recorder(), TWO).members_:
        assert member.X_.dtype == np.float32


def test_probabilities_are_the_mean_of_the_members():
    model = fitted(UnderBagging(members=3), LogisticRegression(), TWO)
    X, _ = clouds((5, 5), seed=1)
    mean = sum(member.predict_proba(X) for member in model.members_) / 3
    np.testing.assert_allclose(model.predict_proba(X), mean)
