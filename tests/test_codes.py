"""What few bits of probabilities tell of a metric always holds the metric."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltbench.scoring import codes, metrics


@st.composite
def folds(draw):
    """Labels in which every class has a row, and probabilities, of which some are tied."""
    classes = draw(st.integers(2, 4))
    rows = draw(st.integers(classes + 1, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels = np.concatenate([np.arange(classes), random.integers(0, classes, rows - classes)])
    scores = random.normal(0, draw(st.sampled_from([0.5, 3.0, 12.0])), (rows, classes))
    if draw(st.booleans()):
        scores = np.round(scores)
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return labels, odds / odds.sum(axis=1, keepdims=True)


@settings(max_examples=300, deadline=None)
@given(folds())
def test_bounds_hold_every_metric_of_scores(fold):
    labels, probabilities = fold
    classes = probabilities.shape[1]
    coded = codes.coded(probabilities)
    assert coded.shape[1] == (1 if classes == 2 else classes)
    positive = 1 if classes == 2 else None
    told = metrics.scored_decisions(
        labels, probabilities.argmax(1), labels, probabilities, positive
    )
    found = {
        "auc": codes.auc_bounds(labels, coded),
        "average_precision": codes.average_precision_bounds(labels, coded, positive),
        "brier": codes.brier_bounds(labels, coded),
        "log_loss": codes.log_loss_bounds(labels, coded),
    }
    for name, (low, high) in found.items():
        assert low - 1e-12 <= told[name] <= high + 1e-12, name


def test_codes_tell_between_which_borders_a_probability_is():
    coded = codes.coded(np.array([[0.99995, 0.00005], [0.5, 0.5], [0.0, 1.0]]))
    low, high = codes.bounds(coded)
    assert coded[:, 0].tolist() == [0, 11, 22]
    assert (low[0].tolist(), high[0].tolist()) == ([0.9999, 0.0], [1.0, 0.0001])
    assert (low[1, 1], high[1, 1]) == (7 / 15, 8 / 15)
    assert (low[2, 1], high[2, 1]) == (0.9999, 1.0)


def test_rows_of_one_code_leave_ranking_open():
    labels, coded = np.array([0, 1, 1]), np.array([[5], [5], [5]])
    assert codes.auc_bounds(labels, coded) == (0.0, 1.0)
    low, high = codes.average_precision_bounds(labels, coded, 1)
    assert low == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert high == 1.0


def test_without_rows_of_a_class_there_is_no_area():
    assert codes.auc_bounds(np.array([1, 1]), np.array([[3], [4]])) is None
