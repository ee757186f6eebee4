import numpy as np
import pytest
from sklearn.metrics import (
    balanced_accuracy_score,
    f1_score,
    fbeta_score,
    matthews_corrcoef,
)

from ltbench.scoring.thresholds import best_offsets

REFERENCES = {
    "f1": f1_score,
    "f2": lambda labels, predicted: fbeta_score(labels, predicted, beta=2),
    "balanced_accuracy": balanced_accuracy_score,
    "matthews": matthews_corrcoef,
    "g_mean": lambda labels, predicted: np.sqrt(
        np.mean(predicted[labels == 1]) * np.mean(1 - predicted[labels == 0])
    ),
}


def drawn(classes, rows=200, seed=0):
    random = np.random.RandomState(seed)
    labels = random.choice(
        classes,
        size=rows,
        p=np.arange(classes, 0, -1) ** 3.0 / sum(np.arange(classes, 0, -1) ** 3.0),
    )
    scores = random.randn(rows, classes)
    scores[np.arange(rows), labels] += 1
    scores[:, 0] += 1
    return scores, labels


@pytest.mark.parametrize("metric", REFERENCES)
def test_no_threshold_of_two_classes_is_better(metric):
    scores, labels = drawn(2)
    value = REFERENCES[metric]
    gap = scores[:, 1] - scores[:, 0]
    every = [value(labels, (gap > t).astype(int)) for t in np.append(np.sort(gap), -np.inf)]
    offsets = best_offsets(scores, labels, metric, positive=1)
    assert offsets[0] == 0
    assert np.isclose(value(labels, (scores + offsets).argmax(axis=1)), max(every))


def test_the_threshold_may_be_of_either_class():
    scores, labels = drawn(2)
    first = best_offsets(scores, labels, "f1", positive=1)
    second = best_offsets(scores[:, ::-1], 1 - labels, "f1", positive=0)
    np.testing.assert_allclose(first, second[::-1])


@pytest.mark.parametrize("metric", ["f1", "balanced_accuracy", "matthews"])
def test_no_shift_of_one_of_many_classes_is_better(metric):
    scores, labels = drawn(4)
    value = REFERENCES[metric]
    if metric == "f1":
        value = lambda labels, predicted: f1_score(labels, predicted, average="macro")  # noqa: E731
    offsets = best_offsets(scores, labels, metric)
    reached = value(labels, (scores + offsets).argmax(axis=1))
    assert reached > value(labels, scores.argmax(axis=1)) + 0.01
    for c in range(4):
        for shift in np.linspace(-4, 4, 161):
            moved = scores + offsets
            moved[:, c] += shift
            assert value(labels, moved.argmax(axis=1)) <= reached + 1e-9


def test_nothing_moves_where_nothing_is_gained():
    labels = np.array([0, 0, 1, 1, 2])
    assert best_offsets(np.eye(3)[labels], labels).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("gaps", "labels", "offset"),
    [
        # F1 is 2/3 with the first as with all four positive, and less between
        ([-1.0, -2, -3, -4], [1, 0, 0, 1], 1.5),
        # F1 is 2/3 with the first as with the first four positive, and less at 0, with all
        ([4.0, 3, 2, 1, 0.2], [1, 0, 0, 1, 0], -0.6),
    ],
)
def test_of_equal_thresholds_the_nearest_to_nothing_is_taken(gaps, labels, offset):
    scores = np.column_stack([np.zeros(len(gaps)), gaps])
    offsets = best_offsets(scores, np.array(labels), "f1", positive=1)
    assert offsets == pytest.approx([0, offset])


def test_rows_of_one_score_move_together():
    # at a threshold between the two scores, F1 is 2/3; one amid equal ones would make it 1
    scores = np.array([[0.0, -1.0], [0.0, -1.0], [0.0, -3.0]])
    offsets = best_offsets(scores, np.array([1, 0, 0]), "f1", positive=1)
    assert (scores + offsets).argmax(axis=1).tolist() == [1, 1, 0]
