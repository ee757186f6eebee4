import math

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier
from test_balanced_bags import FEW, FOUR, TREE, TWO, assert_repeatable, clouds, fitted, gain, run_of

from ltbench import LTBenchError
from ltbench.errors import Unmet
from ltbench_plugins.tables.imbalanced_boosting import (
    AdaCost,
    AdaCostBoosted,
    Boosted,
    RUSBoost,
    SMOTEBoost,
)

METHODS = [RUSBoost, SMOTEBoost, AdaCost]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("counts", [TWO, FOUR, *FEW])
def test_clones_and_pickles_predict_the_same_for_all_classes(method, counts):
    assert_repeatable(method(), TREE, counts)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("counts", [TWO, FOUR])
def test_rare_classes_gain(method, counts):
    assert gain(method(), TREE, counts) > 0.02


@pytest.mark.parametrize("method", METHODS)
def test_learners_that_are_no_decision_trees_are_refused(method):
    text = f"^{method.name} boosts decision trees; the learner here is LogisticRegression$"
    with pytest.raises(Unmet, match=text):
        method().build(LogisticRegression(), run_of(TWO))


@pytest.mark.parametrize("method", METHODS)
def test_members_are_trees_of_the_depth_asked_with_the_other_parameters_of_the_learner(method):
    base = DecisionTreeClassifier(max_depth=9, min_samples_leaf=4)
    members = fitted(method(members=4, depth=2), base, TWO).members_
    assert [(m.max_depth, m.min_samples_leaf) for m in members] == [(2, 4)] * 4
    assert len({m.random_state for m in members}) == 4
    assert base.max_depth == 9


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("data", [load_breast_cancer, load_digits])
def test_all_members_are_kept_on_data_of_scikit_learn(method, data):
    X, y = data(return_X_y=True)
    rare = y == 0 if data is load_breast_cancer else y == 8
    kept = np.concatenate([np.flatnonzero(~rare), np.flatnonzero(rare)[:50]])
    y = rare[kept].astype(int)
    model = method().build(TREE, run_of(np.bincount(y))).fit(X[kept], y)
    assert len(model.members_) == 10


@pytest.mark.parametrize("method", METHODS)
def test_a_fit_that_keeps_fewer_than_half_of_its_members_fails_in_a_sentence(method):
    X, y = np.zeros((40, 2)), np.array([0] * 30 + [1] * 10)
    model = method().build(TREE, run_of((30, 10)))
    with pytest.raises(LTBenchError, match="^boosting kept 0 of 10 trees, .* try another depth$"):
        model.fit(X, y)


@pytest.mark.parametrize("method", METHODS)
def test_trees_without_mistakes_do_not_end_boosting(method):
    X, y = np.arange(40.0)[:, None], np.array([0] * 30 + [1] * 10)
    model = method().build(TREE, run_of((30, 10))).fit(X, y)
    assert len(model.members_) == 10
    assert np.isfinite(model.votes_).all()
    np.testing.assert_array_equal(model.predict(X), y)


class Given:
    """A tree that says what it is told, round after round."""

    def __init__(self, scores):
        self.scores = np.array(scores)

    def predict_proba(self, X):
        return self.scores


def boosted(model, rounds, y, monkeypatch):
    """Boosts trees that give these scores; tells the weights of rows that each was trained with."""
    shown, waiting = [], [Given(scores) for scores in rounds]

    def trained(estimator, X, y, weight, rng):
        shown.append(weight)
        return waiting.pop(0)

    monkeypatch.setattr("ltbench_plugins.tables.imbalanced_boosting.trained", trained)
    model.fit(np.zeros((len(y), 1)), np.array(y))
    return shown


def test_weights_and_votes_of_two_classes_by_hand(monkeypatch):
    # rows of weight 1/4; margins 0.8, 0.6, -0.2 and 0.4 make an edge of 0.4
    first = [[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]]
    model = Boosted(TREE, members=2)
    _, second = boosted(model, [first, first], [0, 0, 1, 1], monkeypatch)
    vote = 0.5 * math.log(1.4 / 0.6)
    raised = [math.exp(-vote * margin) for margin in (0.8, 0.6, -0.2, 0.4)]
    np.testing.assert_allclose(second, [r / sum(raised) for r in raised], rtol=1e-12)
    assert model.votes_[0] == pytest.approx(vote, rel=1e-12)


def test_weights_of_three_classes_stand_on_the_wrong_classes_by_hand(monkeypatch):
    # six pairs of weight 1/6, two for each row
    first = [[0.6, 0.1, 0.3], [0.1, 0.4, 0.5], [0.2, 0.1, 0.7]]
    model = Boosted(TREE, members=2)
    _, second = boosted(model, [first, first], [0, 1, 2], monkeypatch)
    margins = np.array([[0.5, 0.3], [0.3, -0.1], [0.5, 0.6]])
    raised = np.exp(-math.atanh(2.1 / 6) * margins)
    np.testing.assert_allclose(second, raised.sum(axis=1) / raised.sum(), rtol=1e-12)


def test_costs_by_hand(monkeypatch):
    # costs 1 and 3 scale to 1/3 and 1: the rows weigh 1/6, 1/6, 1/2 and 1/2 of 4/3
    first = [[0.9, 0.1], [0.4, 0.6], [0.6, 0.4], [0.3, 0.7]]
    model = AdaCostBoosted(TREE, members=2, costs=(1.0, 3.0))
    shown = boosted(model, [first, first], [0, 0, 1, 1], monkeypatch)
    weights = [1 / 8, 1 / 8, 3 / 8, 3 / 8]
    np.testing.assert_allclose(shown[0], weights, rtol=1e-12)
    margins = [0.8, -0.2, -0.2, 0.4]
    vote = math.atanh(sum(w * m for w, m in zip(weights, margins, strict=True)))
    steps = [0.8 * (1 - 1 / 3) / 2, -0.2 * (1 + 1 / 3) / 2, -0.2 * 1, 0.4 * 0]
    raised = [w * math.exp(-vote * s) for w, s in zip(weights, steps, strict=True)]
    np.testing.assert_allclose(shown[1], [r / sum(raised) for r in raised], rtol=1e-12)


def test_a_tree_no_better_than_chance_is_dropped_and_the_weights_stay(monkeypatch):
    good, bad = [[0.9, 0.1], [0.2, 0.8]], [[0.4, 0.6], [0.5, 0.5]]
    model = Boosted(TREE, members=2)
    shown = boosted(model, [bad, good, bad, good], [0, 1], monkeypatch)
    assert [member.scores.tolist() for member in model.members_] == [good, good]
    np.testing.assert_array_equal(shown[0], shown[1])
    np.testing.assert_array_equal(shown[2], shown[3])


def test_half_of_the_members_are_enough(monkeypatch):
    good, bad = [[0.9, 0.1], [0.2, 0.8]], [[0.4, 0.6], [0.5, 0.5]]
    model = Boosted(TREE, members=4)
    boosted(model, [good, bad, bad, bad, good, bad, bad, bad], [0, 1], monkeypatch)
    assert len(model.members_) == 2


def test_members_vote_with_their_probabilities(monkeypatch):
    first, second = [[0.9, 0.1], [0.3, 0.7]], [[0.4, 0.6], [0.1, 0.9]]
    model = Boosted(TREE, members=2)
    boosted(model, [first, second], [0, 1], monkeypatch)
    a, b = model.votes_
    expected = (a * np.array(first) + b * np.array(second)) / (a + b)
    np.testing.assert_allclose(model.predict_proba(None), expected)


def rounds(method, counts, monkeypatch, **fit):
    """The rows, labels and weights that each tree was trained on."""
    from ltbench_plugins.tables import balanced_bags, imbalanced_boosting

    seen = []

    def trained(estimator, X, y, weight, rng):
        seen.append((X, y, weight))
        return balanced_bags.trained(estimator, X, y, weight, rng)

    monkeypatch.setattr(imbalanced_boosting, "trained", trained)
    fitted(method, TREE, counts, **fit)
    return seen


def test_each_round_of_rusboost_is_balanced_and_draws_other_rows(monkeypatch):
    seen = rounds(RUSBoost(), FOUR, monkeypatch)
    assert [np.bincount(y).tolist() for _, y, _ in seen] == [[10] * 4] * 10
    assert not np.array_equal(seen[0][0], seen[1][0])


def test_rows_of_rusboost_keep_the_weights_of_the_whole_set(monkeypatch):
    _, _, weight = rounds(RUSBoost(), TWO, monkeypatch)[0]
    np.testing.assert_allclose(weight, 1 / sum(TWO))


def test_each_round_of_smoteboost_is_balanced_by_new_rows_after_the_originals(monkeypatch):
    X, y = clouds(FOUR)
    seen = rounds(SMOTEBoost(), FOUR, monkeypatch)
    for rows, labels, _ in seen:
        assert np.bincount(labels).tolist() == [200] * 4
        np.testing.assert_array_equal(rows[: len(X)], X)
    assert not np.array_equal(seen[0][0], seen[1][0])


def test_a_new_row_weighs_what_the_row_does_that_it_starts_from(monkeypatch):
    weight = np.where(clouds((30, 3))[1] == 0, 1.0, [2.0])
    _, labels, weights = rounds(SMOTEBoost(), (30, 3), monkeypatch, sample_weight=weight)[0]
    np.testing.assert_allclose(weights[labels == 1], 2 / 36)


def test_new_rows_of_smoteboost_have_one_category():
    X, y = clouds(TWO)
    X[:, 1:] = np.eye(3)[np.random.default_rng(0).integers(3, size=len(X))]
    run = run_of(TWO, categorical=(slice(1, 4),))
    model = SMOTEBoost().build(TREE, run)
    present = model.presenter(X, y, np.random.default_rng(0))
    model.classes_ = np.array([0, 1])
    rows, _, _ = present(np.ones(len(y)))
    assert set(map(tuple, rows[:, 1:].tolist())) == {(1, 0, 0), (0, 1, 0), (0, 0, 1)}


def scores_with(costs):
    X, _ = clouds((50, 50), seed=1)
    return fitted(AdaCost(costs=costs), TREE, (150, 150)).predict_proba(X)[:, 1]


def test_scores_change_when_costs_change():
    even, dear = scores_with((1.0, 1.0)), scores_with((1.0, 50.0))
    assert dear.mean() > even.mean() + 0.1


def test_only_the_ratio_of_costs_counts():
    np.testing.assert_allclose(scores_with((1.0, 50.0)), scores_with((0.1, 5.0)))


def test_costs_follow_from_the_classes_by_default():
    X, _ = clouds((50, 50), seed=1)
    given = fitted(AdaCost(costs=(1 / 20, 1 / 300)), TREE, TWO).predict_proba(X)
    np.testing.assert_allclose(fitted(AdaCost(), TREE, TWO).predict_proba(X), given)


def test_costs_for_another_number_of_classes_are_refused():
    with pytest.raises(LTBenchError, match="^adacost: 3 costs for 2 classes$"):
        AdaCost(costs=(1.0, 1.0, 1.0)).build(TREE, run_of(TWO))


@pytest.mark.parametrize("method", METHODS)
def test_weights_of_rows_are_where_boosting_begins(method, monkeypatch):
    weight = np.linspace(1, 2, sum(TWO))
    X, y = clouds(TWO)
    rows, _, shown = rounds(method(), TWO, monkeypatch, sample_weight=weight)[0]
    costs = np.where(y == 0, 15, 1) if method is AdaCost else np.ones(len(y))
    first = {row.tobytes(): w for row, w in zip(X, weight * costs, strict=True)}
    expected = [first.get(row.tobytes()) for row in rows]
    kept = [i for i, w in enumerate(expected) if w is not None]
    total = (weight * costs).sum()
    np.testing.assert_allclose(shown[kept], [expected[i] / total for i in kept])
