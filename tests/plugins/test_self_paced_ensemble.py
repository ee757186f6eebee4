import math

import numpy as np
import pytest
from scipy.special import expit
from sklearn.neighbors import KNeighborsClassifier
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

from ltbench import LTBenchError
from ltbench_plugins.tables.self_paced_ensemble import (
    SelfPacedEnsemble,
    bin_of,
    bin_weights,
    numbers_drawn,
)

# nine rows; in five bins from 0 to 1 they are four easy, two, none, one and two hard
HARDNESS = np.array([0.0, 0.05, 0.1, 0.15, 0.25, 0.35, 0.7, 0.9, 1.0])
PLACE = np.array([0, 0, 0, 0, 1, 1, 3, 4, 4])
MEANS = [0.075, 0.3, None, 0.7, 0.95]
SIZES = np.array([4, 2, 0, 1, 2])


@pytest.mark.parametrize("counts", [TWO, FOUR, *FEW])
def test_clones_and_pickles_predict_the_same_for_all_classes(counts):
    assert_repeatable(SelfPacedEnsemble(), TREE, counts)


@pytest.mark.parametrize("counts", [TWO, FOUR])
def test_rare_classes_gain(counts):
    assert gain(SelfPacedEnsemble(), TREE, counts) > 0.02


def test_bins_are_of_equal_width_over_the_range_of_hardness():
    np.testing.assert_array_equal(bin_of(HARDNESS, 5), PLACE)
    np.testing.assert_array_equal(bin_of(0.5 + HARDNESS / 4, 5), PLACE)


def test_rows_of_one_hardness_share_a_bin():
    np.testing.assert_array_equal(bin_of(np.full(4, 0.3), 5), [0, 0, 0, 0])


@pytest.mark.parametrize("alpha", [0.0, 0.1, math.tan(math.pi / 4)])
def test_a_bin_counts_by_the_inverse_of_its_mean_hardness_and_alpha(alpha):
    expected = [0 if mean is None else 1 / (mean + alpha) for mean in MEANS]
    np.testing.assert_allclose(bin_weights(HARDNESS, PLACE, 5, alpha), expected, rtol=1e-12)


def test_the_first_weights_favour_easy_bins_and_the_last_are_uniform_over_bins_with_rows():
    first, *_, last = (
        bin_weights(HARDNESS, PLACE, 5, np.tan(np.pi * i / (2 * 9))) for i in range(10)
    )
    shares = first / first.sum()
    # 13.333, 3.333, 1.429 and 1.053 of 19.148
    np.testing.assert_allclose(shares, [0.69633, 0.17408, 0, 0.07461, 0.05498], atol=1e-5)
    np.testing.assert_allclose(last / last.sum(), [0.25, 0.25, 0, 0.25, 0.25])


def test_a_bin_without_hardness_counts_a_great_deal_and_not_without_end():
    assert np.isfinite(bin_weights(np.zeros(3), np.zeros(3, dtype=int), 5, 0.0)).all()


def test_rows_are_drawn_of_each_bin_in_proportion_to_its_weight():
    assert numbers_drawn(np.array([4.0, 2.0, 0.0, 1.0, 1.0]), [9, 9, 0, 9, 9], 8).tolist() == [
        4, 2, 0, 1, 1,
    ]  # fmt: skip


def test_numbers_drawn_on_a_small_case_by_hand():
    # alpha 0.1 weighs the bins 5.714, 2.5, 0, 1.25 and 0.952. By halves, thirds of halves ...:
    # 11.43 -> bin 0; then 3.81, 5, 2.5, 1.9 -> bin 1; 3.81 -> bin 0; then 2.29, 1.67, 2.5 -> bin 3
    weights = bin_weights(HARDNESS, PLACE, 5, 0.1)
    assert numbers_drawn(weights, SIZES, 4).tolist() == [2, 1, 0, 1, 0]


def test_what_a_bin_is_short_of_others_give():
    assert numbers_drawn(np.array([100.0, 2.0, 0.0, 1.0, 1.0]), SIZES, 6).tolist() == [
        4,
        1,
        0,
        1,
        0,
    ]


def test_no_bin_gives_more_than_it_has_when_all_rows_are_drawn():
    assert numbers_drawn(np.array([1.0, 2.0, 0.0, 3.0, 4.0]), SIZES, 9).tolist() == SIZES.tolist()


@pytest.mark.parametrize("counts", [TWO, FOUR])
def test_each_bag_is_balanced_and_keeps_the_rarest_class_whole(counts):
    base = KNeighborsClassifier(3)
    X, y = clouds(counts)
    rarest = int(np.argmin(counts))
    for member in fitted(SelfPacedEnsemble(), base, counts).members_:
        rows, labels = member._fit_X, member._y
        assert np.bincount(labels).tolist() == [min(counts)] * len(counts)
        rare = rows[labels == rarest]
        np.testing.assert_array_equal(np.sort(rare, axis=0), np.sort(X[y == rarest], axis=0))


def paced_bags(members):
    """The hardness of common rows in each bag: 80 are easy, 10 at 0.5 and 10 hard, 10 are rare."""
    common = np.concatenate([np.linspace(0, 0.1, 80), np.full(10, 0.5), np.linspace(0.9, 1, 10)])
    X = np.concatenate([1 - common, np.zeros(10)])[:, None]  # Recorder: the probability of class 0
    y = np.array([0] * 100 + [1] * 10)
    model = SelfPacedEnsemble(members=members).build(Recorder(), run_of((100, 10))).fit(X, y)
    return [1 - member.X_[member.y_ == 0][:, 0] for member in model.members_]


def test_hard_rows_grow_more_common_until_all_bins_are_alike():
    bags = paced_bags(10)
    hard = [int((bag > 0.8).sum()) for bag in bags]
    assert hard[1:] == sorted(hard[1:])
    # three of five bins have rows, at 0.05, 0.5 and 0.95; of ten rows the first gets the odd one
    last = [int((bags[-1] < 0.2).sum()), int((bags[-1] == 0.5).sum()), hard[-1]]
    assert last == [4, 3, 3]


def test_the_second_bag_follows_the_rule_at_i_equal_1():
    alpha = math.tan(math.pi / 18)  # 0.17633
    weights = [1 / (0.05 + alpha), 1 / (0.5 + alpha), 1 / (0.95 + alpha)]  # 4.42, 1.48, 0.888
    assert [round(10 * w / sum(weights)) for w in weights] == [7, 2, 1]
    bag = paced_bags(10)[1]
    assert [(bag < 0.2).sum(), (bag == 0.5).sum(), (bag > 0.8).sum()] == [7, 2, 1]


class Partial(Recorder):
    """Sees one input of four, which one goes by the seed of the clone."""

    def predict_proba(self, X):
        return super().predict_proba(expit(2 * X[:, self.random_state % 4 :]))


def test_hardness_is_that_of_the_running_mean():
    X, y = clouds((200, 20))
    model = SelfPacedEnsemble(members=6).build(Partial(), run_of((200, 20))).fit(X, y)
    common = X[y == 0]
    assert len({member.random_state % 4 for member in model.members_[:-1]}) > 2
    for i in range(1, 6):
        so_far = np.mean([m.predict_proba(common)[:, 0] for m in model.members_[:i]], axis=0)
        place = bin_of(1 - so_far, 5)
        weights = bin_weights(1 - so_far, place, 5, np.tan(np.pi * i / 10))
        expected = numbers_drawn(weights, np.bincount(place, minlength=5), 20)
        member = model.members_[i]
        drawn = {row.tobytes() for row in member.X_[member.y_ == 0]}
        found = [place[k] for k, row in enumerate(common) if row.tobytes() in drawn]
        np.testing.assert_array_equal(np.bincount(found, minlength=5), expected)


def test_one_member_is_a_learner_on_a_random_balanced_bag():
    (member,) = fitted(SelfPacedEnsemble(members=1), Recorder(), TWO).members_
    assert np.bincount(member.y_).tolist() == [20, 20]


def test_weights_of_rows_go_with_the_rows_into_the_bags():
    X, y = clouds(TWO)
    weight = np.arange(len(y), dtype=float)
    for member in fitted(SelfPacedEnsemble(), Recorder(), TWO, sample_weight=weight).members_:
        np.testing.assert_array_equal(X[member.weight_.astype(int)], member.X_)


def test_a_learner_that_weighs_no_rows_is_refused_weights():
    with pytest.raises(LTBenchError, match="^KNeighborsClassifier weighs no rows"):
        fitted(SelfPacedEnsemble(), KNeighborsClassifier(), TWO, sample_weight=np.ones(sum(TWO)))
