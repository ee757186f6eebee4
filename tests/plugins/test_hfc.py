import pytest
import torch
from of_incremental import float64, loss_of, run_of
from released_incremental import (
    HFC_FIRST,
    HFC_LABELS,
    HFC_LOSS,
    HFC_SCORES,
    HFC_SECOND,
    HFC_TAUGHT,
)
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from ltbench_plugins.incremental.hfc import balanced, imitation

SCORES, TAUGHT, LABELS = float64(HFC_SCORES), float64(HFC_TAUGHT), torch.tensor(HFC_LABELS)


def given(text="hfc"):
    return run_of(text, classes=6, old=4, known=(2, 4), taught=TAUGHT)


def test_weights_and_loss_are_those_of_the_released_code():
    method, run = given()
    first, second = balanced(SCORES, LABELS, run.granted.past)
    torch.testing.assert_close(first, float64(HFC_FIRST), rtol=0, atol=1e-6)
    torch.testing.assert_close(second, float64(HFC_SECOND), rtol=0, atol=1e-6)
    assert loss_of(method, run, SCORES, LABELS).item() == pytest.approx(HFC_LOSS, abs=1e-6)


def test_the_slope_is_that_of_the_written_loss_with_its_weights_held():
    method, run = given()
    scores = SCORES.clone().requires_grad_()
    loss_of(method, run, scores, LABELS).backward()
    z, first, second = SCORES.sigmoid(), float64(HFC_FIRST), float64(HFC_SECOND)
    y = one_hot(LABELS, 6).double()
    soft = torch.cat([TAUGHT.sigmoid(), y[:, 4:]], dim=1)
    slope = (first[:, None] * (z - y) + second[:, None] * (z - soft)) / SCORES.numel()
    for c in range(6):
        own = (c == LABELS).nonzero()[:, 0]
        gap = SCORES[own].mean(0).sigmoid() - soft[own].mean(0)
        slope[own] += 0.5 * second[own].mean() * gap / 6 / 6 / len(own)
    torch.testing.assert_close(scores.grad, slope, rtol=0, atol=1e-7)


def test_the_order_of_rows_does_not_matter_and_weights_keep_to_their_intervals():
    _, run = given()
    order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    first, second = balanced(SCORES, LABELS, run.granted.past)
    again, _ = balanced(SCORES[order], LABELS[order], run.granted.past)
    torch.testing.assert_close(again, first[order])
    z, new = 4 / 6, LABELS >= 4
    assert (first[new] >= (1 - z) / 2).all() and (first[new] <= 1 - z).all()
    assert (second[new] == 0.8 * z).all()
    assert (first[~new] <= 1.2 * (1 - z) ** 0.5).all() and (second[~new] >= z / 2).all()


def test_what_is_taught_already_leaves_the_entropy_alone():
    taught = SCORES[:, :4]
    soft = torch.cat([taught.sigmoid(), one_hot(LABELS, 6)[:, 4:]], dim=1)
    weight = torch.ones(8, dtype=torch.float64)
    rows = binary_cross_entropy_with_logits(SCORES, soft, reduction="none").mean()
    found = imitation(SCORES, LABELS, taught, weight)
    assert found > rows  # what is left are the classes' terms


def test_a_batch_without_new_rows_is_finite():
    method, run = given()
    old = LABELS < 4
    run.granted.past.run.model.given = TAUGHT[old]
    assert torch.isfinite(loss_of(method, run, SCORES[old], LABELS[old]))
