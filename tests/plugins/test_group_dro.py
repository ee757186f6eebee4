import math

import pytest
import torch
from by_hand import LABELS, SCORES, cross_entropy, slope, tensors
from of_domains import CELLS, float64, loss_of, run_of
from released_domains import DRO_INPUTS, DRO_LABELS, DRO_NETWORK, DRO_STEPS
from torch import nn

from ltbench.testing import probe_loss

GROUPS = [0, 1, 1]


def fresh(text, cells=CELLS):
    return run_of(text, cells, nn.Linear(1, 1, dtype=torch.float64))


def shares_of(run):
    return run.model.group_shares.tolist()


def test_the_loss_weighs_groups_by_shares_that_have_grown():
    losses = [cross_entropy(*pair) for pair in zip(SCORES, LABELS, strict=True)]
    means = [losses[0], (losses[1] + losses[2]) / 2]
    grown = [math.exp(0.5 * mean) / 2 for mean in means]
    q = [part / sum(grown) for part in grown]
    rows = [q[0], q[1] / 2, q[1] / 2]
    slopes = [
        [weight * part for part in slope(*pair)]
        for weight, pair in zip(rows, zip(SCORES, LABELS, strict=True), strict=True)
    ]
    scores, labels = tensors()
    method, run = fresh("groupdro(eta=0.5)")
    loss = loss_of(method, run, scores, labels, torch.tensor(GROUPS))
    loss.backward()
    assert loss.item() == pytest.approx(q[0] * means[0] + q[1] * means[1], abs=1e-6)
    torch.testing.assert_close(scores.grad, float64(slopes), rtol=0, atol=1e-6)
    assert shares_of(run) == pytest.approx(q, abs=1e-6)


def test_steps_are_those_of_the_code_of_boda():
    features, head = nn.Linear(4, 3), nn.Linear(3, 3)
    with torch.no_grad():
        for parameter, values in zip(
            [*features.parameters(), *head.parameters()], DRO_NETWORK, strict=True
        ):
            parameter.copy_(torch.tensor(values))
    method, run = fresh("groupdro", [[5, 5, 5], [5, 5, 5]])
    optimizer = torch.optim.Adam([*features.parameters(), *head.parameters()], lr=0.001)
    x, y = torch.tensor(DRO_INPUTS).flatten(0, 1), torch.tensor(DRO_LABELS).flatten()
    groups = torch.tensor([0] * 5 + [1] * 5)
    for expected, shares in DRO_STEPS:
        loss = loss_of(method, run, head(features(x)), y, groups)
        assert loss.item() == pytest.approx(expected, abs=1e-5)
        assert shares_of(run) == pytest.approx(shares, abs=1e-5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_over_cells_a_class_with_an_attribute_is_a_group():
    scores, labels = tensors()
    method, run = fresh("groupdro(over='cells', eta=0.0)")
    loss = loss_of(method, run, scores, labels, torch.tensor(GROUPS))
    losses = [cross_entropy(*pair) for pair in zip(SCORES, LABELS, strict=True)]
    assert len(shares_of(run)) == 6
    assert loss.item() == pytest.approx(sum(losses) / 6, abs=1e-6)  # three cells are not there


def test_shares_stay_on_the_simplex_and_that_of_the_worst_group_grows():
    method, run = fresh("groupdro(eta=0.2)")
    scores = float64([[5.0, 0, 0], [0, 5.0, 0]])
    for _ in range(5):
        before = shares_of(run)
        loss_of(method, run, scores, torch.tensor([0, 0]), torch.tensor([0, 1]))
        assert shares_of(run)[1] > before[1]
        assert sum(shares_of(run)) == pytest.approx(1)


def test_a_group_that_a_batch_lacks_loses_only_by_the_others():
    method, run = fresh("groupdro(eta=1.0)")
    scores, labels = float64([[0.0, 0, 0]]), torch.tensor([0])
    loss_of(method, run, scores, labels, torch.tensor([0]))
    first, second = shares_of(run)
    assert first / second == pytest.approx(3, rel=1e-5)  # exp of its loss, log 3


def test_a_step_that_asks_for_two_gradients_moves_shares_once():
    method, run = fresh("groupdro(eta=1.0)")
    scores, labels, run.groups = float64([[0.0, 1, 0]]), torch.tensor([0]), torch.tensor([1])
    method.methods[0].grown = False
    first = method.criterion(scores, labels, run)
    after = shares_of(run)
    assert torch.equal(method.criterion(scores, labels, run), first)
    assert shares_of(run) == after


def test_outside_of_a_track_with_domains_it_is_plain():
    scores, labels = tensors()
    ours = probe_loss("groupdro", scores, labels, (100, 10, 1))
    assert torch.equal(ours, probe_loss("erm", scores, labels, (100, 10, 1)))
