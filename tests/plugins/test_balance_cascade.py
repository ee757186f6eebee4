import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from test_balanced_bags import (
    FEW,
    FOUR,
    TREE,
    TWO,
    Recorder,
    assert_repeatable,
    clouds,
    fitted,
    gain,
    run_of,
)

from ltbench_plugins.tables.balance_cascade import BalanceCascade, least, pool_sizes


@pytest.mark.parametrize("counts", [TWO, FOUR, *FEW])
def test_clones_and_pickles_predict_the_same_for_all_classes(counts):
    assert_repeatable(BalanceCascade(), TREE, counts)


@pytest.mark.parametrize("counts", [TWO, FOUR])
def test_rare_classes_gain_with_a_learner_that_does_not_learn_by_heart(counts):
    assert gain(BalanceCascade(), LogisticRegression(), counts) > 0.02


def test_pools_shrink_by_one_factor_until_they_meet_the_rarest_class():
    # f = (2 / 32) ** (1 / 4) = 1/2
    assert pool_sizes(32, 2, 5) == [32, 16, 8, 4, 2]


def test_the_rarest_class_keeps_all_its_rows():
    assert pool_sizes(7, 7, 4) == [7, 7, 7, 7]


def test_one_member_draws_from_all_rows():
    assert pool_sizes(30, 3, 1) == [30]


def test_the_rows_of_least_probability_stay():
    rng = np.random.default_rng(0)
    assert least(np.array([0.9, 0.1, 0.5, 0.2]), 2, rng).tolist() == [1, 3]


def test_rows_of_equal_probability_leave_by_lot():
    rng = np.random.default_rng(0)
    kept = [least(np.array([1.0, 1.0, 0.0, 1.0]), 2, rng).tolist() for _ in range(60)]
    assert {tuple(rows) for rows in kept} == {(0, 2), (1, 2), (2, 3)}


def cascade(members=3):
    """Bags of eight common rows, whose probability of class 0 is their input, and two rare ones."""
    common = np.array([0.8, 0.1, 0.6, 0.3, 0.7, 0.2, 0.5, 0.4])
    X, y = np.concatenate([common, [0.0, 0.05]])[:, None], np.array([0] * 8 + [1] * 2)
    model = BalanceCascade(members).build(Recorder(), run_of((8, 2))).fit(X, y)
    return [sorted(member.X_[member.y_ == 0][:, 0]) for member in model.members_]


def test_well_classified_rows_leave_the_pool_on_a_small_case_by_hand():
    # f = (2 / 8) ** (1 / 2) = 1/2: the pool of 8 keeps the 4 of least probability, then 2
    _, second, last = cascade()
    assert set(second) <= {0.1, 0.2, 0.3, 0.4}
    assert last == [0.1, 0.2]


def test_a_row_that_has_left_does_not_come_back():
    # pools of 8, 6, 5, 4, 3, 2 (two) rows: f = (1 / 4) ** (1 / 6)
    assert pool_sizes(8, 2, 7) == [8, 6, 5, 4, 3, 3, 2]
    bags = cascade(members=7)
    for bag, size in zip(bags, pool_sizes(8, 2, 7), strict=True):
        assert len(bag) == 2 and max(bag) <= size / 10 + 1e-12


def test_the_pool_is_sorted_by_the_last_member_alone():
    class Second(Recorder):
        """The first clone sees classes by the first input, the next ones by the second."""

        made = 0

        def fit(self, X, y, sample_weight=None):
            self.column_, Second.made = min(Second.made, 1), Second.made + 1
            return super().fit(X, y, sample_weight)

        def predict_proba(self, X):
            return super().predict_proba(X[:, self.column_ :])

    first = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.0, 0.0])
    second = np.array([0.4, 0.3, 0.2, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    X, y = np.column_stack([first, second]), np.array([0] * 8 + [1] * 2)
    model = BalanceCascade(3).build(Second(), run_of((8, 2))).fit(X, y)
    last = model.members_[2]
    assert sorted(last.X_[last.y_ == 0][:, 1]) == [0.1, 0.2]


@pytest.mark.parametrize("counts", [TWO, FOUR])
def test_each_bag_is_balanced(counts):
    class Even(Recorder):
        def predict_proba(self, X):
            return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))

    for member in fitted(BalanceCascade(), Even(), counts).members_:
        assert np.bincount(member.y_).tolist() == [min(counts)] * len(counts)


def test_weights_of_rows_go_with_the_rows_into_the_bags():
    X, y = clouds(TWO)
    weight = np.arange(len(y), dtype=float)
    for member in fitted(BalanceCascade(), Recorder(), TWO, sample_weight=weight).members_:
        np.testing.assert_array_equal(X[member.weight_.astype(int)], member.X_)
