"""acil, air and aef-ocl against the released code, and against one ridge regression of all rows."""

import pytest
import torch
from of_incremental import float64, run_of
from released_incremental import (
    REWEIGHTED,
    RIDGE_INVERSE,
    RIDGE_LABELS,
    RIDGE_ROWS,
    RIDGE_WEIGHTS,
)
from torch.nn.functional import one_hot

from ltbench_plugins.incremental.analytic import (
    ACIL,
    AEFOCL,
    AIR,
    expansion,
    recursed,
    reweighted,
    spreads,
    widened,
)

ROWS = [float64(rows) for rows in RIDGE_ROWS]
LABELS = [torch.tensor(labels) for labels in RIDGE_LABELS]
GAMMA = 0.1


def ridge(rows, labels, gamma=GAMMA, classes=4):
    """The solution for all rows at once."""
    whole = rows.T @ rows + gamma * torch.eye(rows.shape[1]).double()
    return torch.linalg.solve(whole, rows.T @ one_hot(labels, classes).double())


def test_the_recursion_is_the_released_one_and_one_shot_ridge():
    inverse, weights = torch.eye(5).double() / GAMMA, torch.zeros(5, 0).double()
    for classes, rows, labels, expected in zip((2, 4), ROWS, LABELS, RIDGE_WEIGHTS, strict=True):
        inverse, weights = recursed(inverse, widened(weights, classes), rows, labels)
        torch.testing.assert_close(weights, float64(expected), rtol=0, atol=1e-9)
    torch.testing.assert_close(inverse, float64(RIDGE_INVERSE), rtol=0, atol=1e-9)
    torch.testing.assert_close(
        weights, ridge(torch.cat(ROWS), torch.cat(LABELS)), atol=1e-9, rtol=0
    )


def test_rows_may_come_in_any_order_and_portions():
    rows, labels = torch.cat(ROWS), torch.cat(LABELS)
    order = torch.tensor([5, 0, 12, 3, 7, 1, 11, 2, 4, 10, 6, 9, 8])
    state = torch.eye(5).double() / GAMMA, torch.zeros(5, 4).double()
    for some in order.split(3):
        state = recursed(*state, rows[some], labels[some])
    torch.testing.assert_close(state[1], ridge(rows, labels), atol=1e-9, rtol=0)


def test_reweighting_is_the_released_one():
    rows, labels = torch.cat(ROWS), torch.cat(LABELS)
    member = one_hot(labels, 4).double()
    products = torch.einsum("nc,ni,nj->cij", member, rows, rows)
    found = reweighted(products, member.T @ rows, member.sum(0), GAMMA)
    torch.testing.assert_close(found, float64(REWEIGHTED), rtol=0, atol=1e-9)


def test_reweighting_of_equal_classes_is_ridge():
    rows, labels = torch.cat(ROWS)[:12], torch.arange(12) % 4
    member = one_hot(labels, 4).double()
    products = torch.einsum("nc,ni,nj->cij", member, rows, rows)
    found = reweighted(products, member.T @ rows, member.sum(0), GAMMA)
    torch.testing.assert_close(found, ridge(rows, labels), atol=1e-9, rtol=0)


def taken(kind, rows, labels, width=6, tasks=2):
    """What a method holds once rows have come in two tasks, and what it solves."""
    method, (_, run) = kind(width=width, gamma=GAMMA), run_of("acil", old=2)
    method.expansion = expansion(5, width, run)
    method.begin(rows[0])
    for some, known in zip(rows, labels, strict=True):
        method.take(some, known, run)
    return method, method.solved(run), run


def test_each_method_solves_in_its_expanded_features():
    method, solved, _ = taken(ACIL, ROWS, LABELS)
    hidden = (torch.cat(ROWS) @ method.expansion).relu()
    torch.testing.assert_close(solved, ridge(hidden, torch.cat(LABELS)), atol=1e-9, rtol=0)
    method, solved, _ = taken(AIR, ROWS, LABELS)
    hidden, labels = (torch.cat(ROWS) @ method.expansion).relu(), torch.cat(LABELS)
    weight = 1 / labels.bincount()
    weight = (weight / weight.mean()).double()[labels]
    whole = (weight * hidden.T) @ hidden + GAMMA * torch.eye(6).double()
    expected = torch.linalg.solve(whole, (weight * hidden.T) @ one_hot(labels, 4).double())
    torch.testing.assert_close(solved, expected, atol=1e-9, rtol=0)


def test_made_up_rows_even_out_classes_and_are_dropped():
    method, solved, run = taken(AEFOCL, ROWS, LABELS)
    plain, weights, _ = taken(ACIL, ROWS, LABELS)
    torch.testing.assert_close(method.weights, weights)
    assert not torch.equal(solved, weights)
    torch.testing.assert_close(method.rows, torch.cat(LABELS).bincount().double())
    equal = torch.arange(12) % 4
    even, solved, _ = taken(AEFOCL, [torch.cat(ROWS)[:12]], [equal])
    _, weights, _ = taken(ACIL, [torch.cat(ROWS)[:12]], [equal])
    torch.testing.assert_close(solved, weights, atol=1e-12, rtol=0)  # nothing is made up


def test_spreads_are_unbiased_and_nothing_for_one_row():
    rows = float64([[1.0, 2.0], [3.0, 2.0], [8.0, 2.0], [5.0, 5.0]])
    labels = torch.tensor([0, 0, 0, 1])
    sums = float64([[12.0, 6.0], [5.0, 5.0]])
    squares = float64([[74.0, 12.0], [25.0, 25.0]])
    mean, spread = spreads(labels.bincount().double(), sums, squares)
    torch.testing.assert_close(mean[0], rows[:3].mean(0))
    torch.testing.assert_close(spread[0], rows[:3].std(0))
    assert spread[1].tolist() == [0, 0]


@pytest.mark.parametrize("kind", [ACIL, AIR, AEFOCL])
def test_what_is_kept_does_not_grow_with_rows(kind):
    from ltbench.tracks.incremental.tasks import floats_in

    few, _, _ = taken(kind, ROWS, LABELS)
    twice = [rows.repeat(2, 1) for rows in ROWS], [labels.repeat(2) for labels in LABELS]
    many, _, _ = taken(kind, *twice)
    assert floats_in(few) == floats_in(many)
