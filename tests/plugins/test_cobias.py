"""The mean gap between the recalls of two classes."""

import numpy as np
import pytest

from ltbench.registry.registry import installed
from ltbench_plugins.metrics.cobias import COBIAS, TRACKS, cobias


def answers(recalls, rows=10):
    """Labels and decisions by which each class has its recall."""
    labels = np.repeat(np.arange(len(recalls)), rows)
    right = np.concatenate([np.arange(rows) < round(rows * one) for one in recalls])
    return labels, np.where(right, labels, (labels + 1) % len(recalls))


@pytest.mark.parametrize(
    ("recalls", "gap"),
    [
        ((1.0, 0.5, 0.0), (0.5 + 1.0 + 0.5) / 3),
        ((0.2, 0.9, 0.4, 0.4), (0.7 + 0.2 + 0.2 + 0.5 + 0.5 + 0.0) / 6),
        ((0.3, 0.3), 0.0),
        ((0.0, 1.0), 1.0),
    ],
)
def test_it_is_the_mean_over_pairs(recalls, gap):
    assert cobias(*answers(recalls), len(recalls)) == pytest.approx(gap, abs=1e-12)
    assert cobias(*answers(recalls[::-1]), len(recalls)) == pytest.approx(gap, abs=1e-12)


def test_classes_without_test_rows_are_in_no_pair():
    labels, predicted = answers((1.0, 0.5))
    assert cobias(labels, predicted, 7) == pytest.approx(0.5)
    assert cobias(labels[:10], predicted[:10], 7) is None


def test_protocols_of_these_tracks_may_ask_for_it_and_no_other_shows_it():
    for name in TRACKS:
        assert COBIAS in installed().track(name).measures
    for name in ("digits-lt", "digits-robust", "digits-semi-consistent"):
        protocol = installed().protocol(name)
        assert "cobias" not in installed().track(protocol.track).shown(protocol)
