import math

import pytest
import torch
from oracles import oracle

from ltbench.testing import probe_loss
from ltbench_plugins.losses.ranked_weights import ranked


def test_weights_are_the_shares_in_reverse_order():
    shares = torch.tensor([0.4, 0.5, 0.1], dtype=torch.float64)
    assert ranked(shares).tolist() == [0.4, 0.1, 0.5]


def test_weights_are_those_of_the_released_code():
    told = oracle("nlbse_weights")
    percents = 100 * torch.tensor(told["positives"], dtype=torch.float64) / told["rows"]
    assert ranked(percents).tolist() == pytest.approx(told["ranked"], abs=1e-12)


def test_classes_of_equal_size_share_their_weights():
    shares = torch.tensor([0.1, 0.4, 0.1, 0.3, 0.1], dtype=torch.float64)
    # 0.4 and 0.3 and 0.1 are handed to three classes, 0.1 to each of the others
    assert ranked(shares).tolist() == pytest.approx([0.8 / 3, 0.1, 0.8 / 3, 0.1, 0.8 / 3])
    assert ranked(torch.full((4,), 0.25)).tolist() == [0.25] * 4


def test_the_loss_and_its_slope_are_those_of_a_weighted_mean():
    # rows of the classes with 50, 40 and 10 of 100 rows, which weigh 10, 40 and 50
    scores = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        scores[0, 0] = math.log(2)  # the first row's class has probability 1/2
    loss = probe_loss("ranked-weights", scores, torch.tensor([0, 2]), (50, 40, 10))
    assert loss.item() == pytest.approx((10 * math.log(2) + 50 * math.log(3)) / 60)
    (slope,) = torch.autograd.grad(loss, scores)
    assert slope[0].tolist() == pytest.approx([10 / 60 * (1 / 2 - 1), 10 / 60 / 4, 10 / 60 / 4])
    assert slope[1].tolist() == pytest.approx([50 / 60 / 3, 50 / 60 / 3, 50 / 60 * (1 / 3 - 1)])
