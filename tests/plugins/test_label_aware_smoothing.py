import pytest
import torch
from of_incremental import float64
from released_incremental import (
    SMOOTHING,
    SMOOTHING_COUNTS,
    SMOOTHING_LABELS,
    SMOOTHING_LOSS,
    SMOOTHING_SCORES,
)

from ltbench.testing import probe_loss
from ltbench_plugins.incremental.label_aware_smoothing import smoothed

COUNTS, LABELS = float64(SMOOTHING_COUNTS), torch.tensor(SMOOTHING_LABELS)


@pytest.mark.parametrize("shape", ["concave", "linear", "convex", "exp"])
def test_smoothing_is_that_of_the_released_code(shape):
    found = smoothed(COUNTS, 0.4, 0.1, shape)
    torch.testing.assert_close(found, float64(SMOOTHING[shape]), rtol=0, atol=1e-6)


def test_the_loss_and_its_slope_are_as_written():
    scores = float64(SMOOTHING_SCORES).requires_grad_()
    loss = probe_loss("label-aware-smoothing", scores, LABELS, SMOOTHING_COUNTS)
    assert loss.item() == pytest.approx(SMOOTHING_LOSS, abs=1e-6)
    loss.backward()
    share = float64(SMOOTHING["concave"])[LABELS][:, None]
    soft = (1 - share) * torch.nn.functional.one_hot(LABELS, 4) + share / 4
    expected = (scores.detach().softmax(1) - soft) / len(LABELS)
    torch.testing.assert_close(scores.grad, expected, rtol=0, atol=1e-7)


def test_equal_classes_have_the_least_smoothing():
    assert smoothed(float64([5, 5]), 0.4, 0.1, "concave").tolist() == [0.1, 0.1]
