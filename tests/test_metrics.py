import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.metrics import geometric_mean_score
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, roc_auc_score

from ltbench.scoring import metrics
from ltbench.scoring.measures import NAMES
from ltbench.tracks.tabular.measures import NAMES as TABULAR


@st.composite
def outcomes(draw):
    """Labels, predictions and probabilities in which every class has a row."""
    classes = draw(st.integers(2, 5))
    extra = draw(st.lists(st.integers(0, classes - 1), max_size=30))
    labels = np.array([*range(classes), *extra])
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    # coarse values, so that ties happen
    probabilities = random.integers(1, 6, (len(labels), classes)).astype(float)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return labels, probabilities.argmax(axis=1), probabilities


@settings(max_examples=200, deadline=None)
@given(outcomes())
def test_metrics_agree_with_scikit_learn_and_imbalanced_learn(outcome):
    labels, predicted, probabilities = outcome
    classes = probabilities.shape[1]
    recall = metrics.recalls(labels, predicted, classes)
    close = lambda a, b: math.isclose(a, b, abs_tol=1e-12)  # noqa: E731
    assert close(metrics.accuracy(labels, predicted), accuracy_score(labels, predicted))
    assert close(metrics.balanced_accuracy(recall), balanced_accuracy_score(labels, predicted))
    f1 = f1_score(labels, predicted, average="macro", zero_division=0)
    assert close(metrics.macro_f1(labels, predicted, classes), f1)
    g_mean = geometric_mean_score(labels, predicted, average="multiclass")
    assert close(metrics.g_mean(recall), g_mean)
    scores = probabilities[:, 1] if classes == 2 else probabilities
    auc = roc_auc_score(labels, scores, multi_class="ovr", average="macro")
    assert close(metrics.macro_auc(labels, probabilities), auc)


def test_recall_of_a_class_without_rows_is_left_out_of_means():
    recall = metrics.recalls(np.array([0, 0, 1]), np.array([0, 1, 1]), 3)
    assert recall[:2].tolist() == [0.5, 1.0]
    assert math.isnan(recall[2])
    assert metrics.balanced_accuracy(recall) == 0.75
    assert metrics.worst_class(recall) == 0.5
    assert metrics.g_mean(recall) == pytest.approx(math.sqrt(0.5))


def test_shot_groups_follow_the_borders_and_an_empty_one_is_none():
    recall = np.array([0.9, 0.8, 0.7, 0.1])
    groups = metrics.shot_groups(recall, [101, 100, 20, 19], (20, 100))
    assert groups == {"many": 0.9, "medium": pytest.approx(0.75), "few": 0.1}
    assert metrics.shot_groups(recall, [50] * 4, (20, 100))["few"] is None


def test_auc_needs_every_class():
    assert metrics.macro_auc(np.array([0, 0]), np.array([[0.5, 0.5], [0.6, 0.4]])) is None


def test_calibration_error_is_the_gap_by_bins():
    labels = np.array([0, 0, 0, 0])
    predicted = np.array([0, 0, 1, 0])
    confidence = np.array([0.95, 0.95, 0.95, 0.55])
    # bin of 0.95: accuracy 2/3 against 0.95, three rows of four; bin of 0.55: 1 against 0.55
    expected = 3 / 4 * (0.95 - 2 / 3) + 1 / 4 * (1 - 0.55)
    error = metrics.expected_calibration_error(labels, predicted, confidence)
    assert error == pytest.approx(expected)


def test_calibration_error_of_a_border_falls_in_the_lower_bin():
    one = np.array([0])
    for confidence in (0.0, 1 / 15, 1.0):
        error = metrics.expected_calibration_error(one, one, np.array([confidence]))
        assert error == pytest.approx(1 - confidence)


def test_calibration_error_is_that_of_fifteen_bins():
    # a row in each bin, right in every other: no gap is made up for by that of another
    confidence, labels = (np.arange(15) + 0.5) / 15, np.arange(15) % 2
    predicted = np.zeros(15, dtype=int)
    error = metrics.expected_calibration_error(labels, predicted, confidence)
    assert error == pytest.approx(np.mean(np.where(labels == 0, 1 - confidence, confidence)))


def test_a_confidence_is_near_a_border_on_either_side_of_it():
    # of 15 bins one ends at 0.2, and the next at 0.267
    confidence = np.array([0.2, 0.209, 0.191, 0.211, 0.189, 0.233, 0.25])
    assert metrics.near_borders(confidence, within=0.01) == 3


def test_a_confidence_that_rounding_lifts_above_one_is_in_the_last_bin():
    confidence = np.array([np.nextafter(1, 2), 0.95])
    error = metrics.expected_calibration_error(np.array([0, 0]), np.array([1, 0]), confidence)
    assert error == pytest.approx((1 - 0.05) / 2)


def test_a_confidence_at_a_border_shares_the_bin_of_those_below():
    # 3 of 15 bins end at 0.2: the gaps 1 - 0.2 and 0 - 0.19 are of one bin
    error = metrics.expected_calibration_error(
        np.array([0, 0]), np.array([0, 1]), np.array([0.2, 0.19])
    )
    assert error == pytest.approx((0.8 - 0.19) / 2)


def test_relative_accuracy_divides_by_the_better_reference():
    assert metrics.relative_accuracy(0.6, vanilla=0.8, balanced=0.75) == pytest.approx(0.75)
    assert metrics.relative_accuracy(0.6, vanilla=0.7, balanced=0.75) == pytest.approx(0.8)


def test_scored_gives_every_name_and_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels = np.array([0, 0, 1])
        probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.6, 0.1]])
        scored = metrics.scored(labels, probabilities.argmax(1), probabilities, [9, 5, 1], (2, 6))
    assert tuple(scored) == NAMES
    # recalls are 1/2 and 1; F1 is 2/3 of both
    assert (scored["many"], scored["medium"], scored["worst_class"]) == (0.5, 1.0, 0.5)
    assert scored["macro_f1"] == pytest.approx(2 / 3)
    assert scored["expected_calibration_error"] == pytest.approx((0.3 + 0.8 + 0.4) / 3)
    assert scored["few"] is None  # the only few-shot class has no test rows
    assert scored["macro_auc"] is None


def test_a_class_that_is_never_right_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert metrics.g_mean(np.array([0.9, 0.0])) == 0


def test_recalls_of_counts_leave_out_a_class_without_rows():
    counts = metrics.counted(np.array([0, 0, 1]), np.array([0, 1, 1]), 3)
    assert counts.recall.tolist() == [0.5, 1.0]


def test_f1_of_a_class_that_is_neither_there_nor_predicted_is_nothing():
    counts = metrics.counted(np.array([0, 0]), np.array([0, 0]), 2)
    assert metrics.f_score(counts, positive=1) == 0


def test_a_certain_error_has_the_loss_of_the_smallest_probability():
    labels, probabilities = np.array([0, 1]), np.array([[1.0, 0.0], [1.0, 0.0]])
    predicted = probabilities.argmax(axis=1)
    found = metrics.scored_decisions(labels, predicted, predicted, probabilities, 1)
    assert found["log_loss"] == pytest.approx(math.log(1e15) / 2)


def test_who_decides_for_one_class_alone_correlates_with_nothing_and_warns_of_nothing():
    counts = metrics.counted(np.array([0, 0, 1]), np.array([0, 0, 0]), 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert metrics.matthews(counts, None) == 0


def test_scored_tells_the_area_under_the_curve_of_its_probabilities():
    # 0.9 ranks above 0.3, and 0.2 below
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
    labels, predicted = np.array([0, 0, 1]), probabilities.argmax(axis=1)
    assert metrics.scored(labels, predicted, probabilities, [5, 1], (2, 4))["macro_auc"] == 0.5


def test_the_geometric_mean_of_many_classes_does_not_vanish():
    assert metrics.g_mean(np.full(5000, 0.4)) == pytest.approx(0.4)
    assert metrics.g_mean(np.array([0.9, 0.0, np.nan])) == 0
    labels = np.repeat(np.arange(800), 4)
    predicted = np.where(np.arange(3200) % 4 == 0, labels, (labels + 1) % 800)
    counts = metrics.counted(labels, predicted, 800)
    assert metrics.OF_COUNTS["g_mean"](counts, None) == pytest.approx(0.25)
    none = metrics.Counts(np.array([[0.0, 5], [4, 9]]), np.ones((2, 2)), np.array([[9.0, 9]] * 2))
    assert metrics.OF_COUNTS["g_mean"](none, None) == pytest.approx([0, 2 / 3])


@pytest.mark.parametrize("classes", [2, 4])
def test_the_metrics_of_tables_are_those_of_scikit_learn(classes):
    from sklearn import metrics as known

    random = np.random.RandomState(0)
    labels = random.choice(classes, 300, p=[0.8, 0.2] if classes == 2 else [0.5, 0.3, 0.15, 0.05])
    probabilities = random.dirichlet(np.ones(classes), 300)
    probabilities[np.arange(300), labels] += 0.3
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    predicted = probabilities.argmax(axis=1)
    tuned = np.roll(predicted, 1)
    positive = 1 if classes == 2 else None
    found = metrics.scored_decisions(labels, predicted, tuned, probabilities, positive)
    of = {"average": "binary"} if positive else {"average": "macro"}
    hot = np.eye(classes)[labels]
    recalls = known.recall_score(labels, predicted, average=None)
    of_classes = [1] if positive else range(classes)
    expected = {
        "f1": known.f1_score(labels, predicted, **of),
        "f1_tuned": known.f1_score(labels, tuned, **of),
        "f2": known.fbeta_score(labels, predicted, beta=2, **of),
        "g_mean": recalls.prod() ** (1 / classes),
        "balanced_accuracy": known.balanced_accuracy_score(labels, predicted),
        "matthews": known.matthews_corrcoef(labels, predicted),
        "average_precision": np.mean(
            [known.average_precision_score(hot[:, c], probabilities[:, c]) for c in of_classes]
        ),
        "auc": np.mean(
            [known.roc_auc_score(hot[:, c], probabilities[:, c]) for c in range(classes)]
        ),
        "brier": ((probabilities - hot) ** 2).sum(axis=1).mean() / 2,
        "log_loss": known.log_loss(labels, probabilities),
    }
    assert set(found) == set(TABULAR)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name
    if positive:
        brier = known.brier_score_loss(labels, probabilities[:, 1])
        assert found["brier"] == pytest.approx(brier)
