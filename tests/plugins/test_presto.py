import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import expit
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier
from test_balanced_bags import run_of

from ltbench.errors import Unmet
from ltbench_plugins.tables.presto import (
    PRESTO,
    OrderedBoundaries,
    cumulated,
    least_that_empties,
    loss_and_gradient,
    minimised,
    probabilities,
)

SHARES = (0.6, 0.25, 0.1, 0.05)


def ordered(rows=400, seed=0, shares=SHARES):
    """Rows of ordered classes, whose first inputs push towards later ones."""
    chance = np.random.default_rng(seed)
    X = chance.normal(size=(rows, 5))
    hidden = X @ np.array([-1.5, 1.0, 0.5, 0.0, 0.0]) + chance.logistic(size=rows)
    borders = np.quantile(hidden, np.cumsum(shares)[:-1])
    return X, np.searchsorted(borders, hidden)


def below(y):
    return (y[:, None] <= np.arange(y.max())).astype(float)


def with_ones(X):
    return np.column_stack([np.ones(len(X)), X])


def test_the_gradient_is_that_of_autograd():
    X, y = ordered(50)
    chance = np.random.default_rng(1)
    steps = torch.tensor(chance.normal(size=(6, 3)), requires_grad=True)
    weight = chance.random(50)
    boundaries = torch.cat([steps[:1], steps[1:].cumsum(dim=1)])
    scores = torch.tensor(with_ones(X)) @ boundaries
    losses = F.binary_cross_entropy_with_logits(scores, torch.tensor(below(y)), reduction="none")
    loss = (losses.sum(dim=1) * torch.tensor(weight)).sum() / weight.sum()
    loss.backward()
    found, gradient = loss_and_gradient(steps.detach().numpy(), with_ones(X), below(y), weight)
    assert found == pytest.approx(loss.item(), rel=1e-12)
    np.testing.assert_allclose(gradient, steps.grad.numpy(), rtol=1e-10, atol=1e-12)


def test_no_penalty_is_a_logistic_regression_for_each_boundary():
    X, y = ordered()
    model = OrderedBoundaries(penalty=0.0).fit(X, y)
    for k in range(3):
        apart = LogisticRegression(C=1e10, tol=1e-10, max_iter=10000).fit(X, y <= k)
        np.testing.assert_allclose(model.boundaries_[1:, k], apart.coef_[0], atol=1e-3)
        np.testing.assert_allclose(model.boundaries_[0, k], apart.intercept_[0], atol=1e-3)


def test_a_large_penalty_on_differences_gives_proportional_odds():
    X, y = ordered()
    model = OrderedBoundaries(penalty=1e6, first=0.0).fit(X, y)
    weights = model.boundaries_[1:]
    np.testing.assert_array_equal(weights, np.repeat(weights[:, :1], 3, axis=1))
    assert np.abs(weights).max() > 1
    assert (np.diff(model.boundaries_[0]) > 0).all() and model.crossings_ == 0


def test_a_large_penalty_on_all_leaves_the_shares_of_the_classes():
    X, y = ordered()
    model = OrderedBoundaries(penalty=1e6).fit(X, y)
    assert not model.boundaries_[1:].any()
    np.testing.assert_allclose(model.predict_proba(X[:1])[0], np.bincount(y) / len(y), atol=1e-5)


def test_no_weight_is_left_at_the_least_penalty_that_empties_and_some_below_it():
    X, y = ordered()
    rows = with_ones(X), below(y), np.ones(len(y))
    least = least_that_empties(*rows)
    assert not minimised(*rows, 1.001 * least, 1.0)[1:].any()
    assert minimised(*rows, 0.99 * least, 1.0)[1:].any()


def test_the_solution_meets_the_conditions_of_a_minimum():
    X, y = ordered()
    rows = with_ones(X), below(y), np.ones(len(y))
    steps = minimised(*rows, 0.01, 1.0)
    slope = loss_and_gradient(steps, *rows)[1]
    used = steps[1:] != 0
    assert 0 < used.sum() < used.size
    np.testing.assert_allclose(slope[0], 0, atol=1e-4)
    np.testing.assert_allclose(slope[1:][used], -0.01 * np.sign(steps[1:][used]), atol=1e-4)
    assert (np.abs(slope[1:][~used]) <= 0.01 + 1e-4).all()


def test_a_warm_start_ends_at_the_same_minimum():
    X, y = ordered()
    rows = with_ones(X), below(y), np.ones(len(y))
    start = minimised(*rows, 0.1, 1.0)
    warm = minimised(*rows, 0.01, 1.0, start)
    np.testing.assert_allclose(warm, minimised(*rows, 0.01, 1.0), atol=1e-3)


def test_probabilities_are_differences_of_cumulative_ones_by_hand():
    scores = np.array([[-1.0, 0.0, 2.0]])
    up_to = [0.0, 0.26894142, 0.5, 0.88079708, 1.0]
    np.testing.assert_allclose(probabilities(scores)[0], np.diff(up_to), atol=1e-8)


def test_where_boundaries_cross_the_class_between_gets_nothing_and_the_rest_is_scaled():
    # up to 0.5, 0.26894142 and 1: the parts 0.5, -0.231, 0.731 have a positive sum of 1.231
    scores = np.array([[0.0, -1.0]])
    total = 0.5 + 1 - expit(-1)
    expected = [0.5 / total, 0, (1 - expit(-1)) / total]
    np.testing.assert_allclose(probabilities(scores)[0], expected, rtol=1e-12)


def test_training_rows_at_which_boundaries_cross_are_counted():
    X, y = ordered(60, shares=(0.4, 0.3, 0.2, 0.1))
    model = OrderedBoundaries(penalty=0.0).fit(X, y)
    cumulative = expit(with_ones(X) @ model.boundaries_)
    crossed = [any(np.diff(row) < 0) for row in cumulative]
    assert model.crossings_ == sum(crossed) > 0


def test_steps_are_cumulated_and_intercepts_are_not():
    steps = np.array([[1.0, 2.0, 3.0], [1.0, 0.5, -2.0]])
    assert cumulated(steps).tolist() == [[1.0, 2.0, 3.0], [1.0, 1.5, -0.5]]


def test_the_penalty_is_chosen_by_the_brier_score_of_rows_left_out():
    X, y = ordered(600)
    chosen = OrderedBoundaries(random_state=0).fit(X, y)
    least = least_that_empties(with_ones(X), below(y), np.ones(len(y)))
    assert 0.01 * least * 0.999 < chosen.penalty_ < 0.5 * least
    noise = np.random.default_rng(9).normal(size=X.shape)
    assert OrderedBoundaries(random_state=0).fit(noise, y).penalty_ > chosen.penalty_


def test_a_rare_last_class_borrows_from_those_before_it():
    X, y = ordered(500, shares=(0.5, 0.3, 0.18, 0.02))
    new, truth = ordered(4000, seed=1, shares=(0.5, 0.3, 0.18, 0.02))
    alone = LogisticRegression(C=1e10, max_iter=10000).fit(X, y == 3).predict_proba(new)[:, 1]
    shared = OrderedBoundaries(random_state=0).fit(X, y).predict_proba(new)[:, 3]
    rare = truth == 3
    assert ((shared - rare) ** 2).mean() < ((alone - rare) ** 2).mean()


def test_weights_of_rows_count_as_repetitions():
    X, y = ordered(100)
    times = np.random.default_rng(0).integers(1, 4, size=100)
    weighed = OrderedBoundaries(penalty=0.01).fit(X, y, sample_weight=times)
    repeated = OrderedBoundaries(penalty=0.01).fit(X.repeat(times, axis=0), y.repeat(times))
    np.testing.assert_allclose(weighed.boundaries_, repeated.boundaries_, atol=1e-3)


def test_classes_without_their_order_are_not_taken():
    assert PRESTO.needs == {"ordered"} and PRESTO.corrects is None


def test_learners_that_are_no_logistic_regression_are_refused():
    text = (
        "^presto takes the place of a LogisticRegression; "
        "the learner here is DecisionTreeClassifier$"
    )
    with pytest.raises(Unmet, match=text):
        PRESTO().build(DecisionTreeClassifier(), run_of((10, 10)))


@pytest.mark.parametrize("counts", [(300, 20), (10, 60, 200, 20), (30, 2), (1, 31), (29, 2, 1)])
def test_clones_and_pickles_predict_the_same_for_all_classes(counts):
    y = np.arange(len(counts)).repeat(counts)
    X = np.random.default_rng(0).normal(size=(len(y), 3)).astype(np.float32)
    X[:, 0] += y
    first = PRESTO().build(LogisticRegression(), run_of(counts)).fit(X, y)
    scores = first.predict_proba(X)
    assert scores.shape == (len(y), len(counts)) and np.isfinite(scores).all()
    np.testing.assert_allclose(scores.sum(axis=1), 1)
    np.testing.assert_array_equal(clone(first).fit(X, y).predict_proba(X), scores)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(first)).predict_proba(X), scores)
