import pytest
import torch
from of_incremental import float64
from released_incremental import FETRIL_FEATURES, FETRIL_MOVED

from ltbench_plugins.incremental.fetril import UnitHead, machine, means_of, pseudo_features

FEATURES = [float64(rows) for rows in FETRIL_FEATURES]
NEW = torch.cat(FEATURES[2:])
LABELS = torch.tensor([2] * len(FEATURES[2]) + [3] * len(FEATURES[3]))
OLD = torch.stack([rows.mean(0) for rows in FEATURES[:2]])


def test_features_of_old_classes_are_those_of_the_released_code():
    moved, classes = pseudo_features(NEW, LABELS, OLD, means_of(NEW, LABELS, 4)[2:])
    for c in range(2):
        expected = float64(FETRIL_MOVED[c])
        torch.testing.assert_close(moved[classes == c], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_they_have_the_old_mean_and_the_new_spread(distance):
    means = means_of(NEW, LABELS, 4)
    moved, classes = pseudo_features(NEW, LABELS, OLD, means[2:], distance)
    torch.testing.assert_close(means_of(moved, classes, 2), OLD)
    lent = NEW[LABELS == 2]
    if (classes == 0).sum() == len(lent):
        torch.testing.assert_close(moved[classes == 0].T.cov(), lent.T.cov())


def test_nearest_is_by_distance_or_by_direction():
    old, new = float64([[1.0, 0.0]]), float64([[1.0, 1.0], [9.0, 0.0]])
    rows, labels = new, torch.tensor([1, 2])
    moved, _ = pseudo_features(rows, labels, old, new)
    assert moved.tolist() == [[1.0, 0.0]]
    both = torch.cat([new, new + 1]), torch.tensor([1, 2, 1, 2])
    means = means_of(*both, 3)[1:]
    by_distance = pseudo_features(*both, old, means)[0]
    by_direction = pseudo_features(*both, old, means, "cosine")[0]
    torch.testing.assert_close(by_distance, both[0][[0, 2]] - means[0] + old)
    torch.testing.assert_close(by_direction, both[0][[1, 3]] - means[1] + old)


def test_one_new_class_lends_to_all():
    moved, classes = pseudo_features(NEW, torch.full((len(NEW),), 2), OLD, NEW.mean(0)[None])
    assert classes.bincount().tolist() == [len(NEW)] * 2 and len(moved) == 2 * len(NEW)


def test_a_machine_tells_two_classes_as_well_as_three():
    rows = float64([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9], [-1, -1], [-0.9, -1]])
    for classes in (2, 3):
        labels = torch.tensor([0, 0, 1, 1, 2, 2])[: 2 * classes]
        unit = torch.nn.functional.normalize(rows[: 2 * classes])
        head = UnitHead(*machine(unit, labels, 1.0, 0))
        scores = head(7 * rows[: 2 * classes])  # of any length
        assert scores.shape == (2 * classes, classes)
        assert torch.equal(scores.argmax(1), labels)
