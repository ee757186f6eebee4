import math

import pytest
import torch
from of_domains import float64, loss_of, run_of
from released_domains import CENTROIDS_AFTER, CENTROIDS_BEFORE, FEATURES, LABELS
from torch import nn

from ltbench_plugins.domains.boda import alignment
from ltbench_plugins.domains.coral import gap

CELLS = float64([[8, 3], [2, 5], [1, 0]])
CENTROIDS = float64([[0, 0], [1, 0], [0, 2], [2, 2], [-1, 1], [9, 9]])
ROWS = float64([[0.5, 0.2], [1.0, 1.5], [-0.3, 0.4], [2.0, 0.1]])
OWN = torch.tensor([0, 3, 4, 1])  # cells: domain 0 class 0, domain 1 class 1, ...


def written_out(features, nu=0.5, temperature=1.0):
    """The loss as it is written, row by row and cell by cell."""
    counts, terms = CELLS.flatten().tolist(), []
    for f, own in zip(features, OWN.tolist(), strict=True):
        s = {
            k: -(CENTROIDS[k] - f).square().sum().sqrt()
            / counts[own]
            * (counts[k] / counts[own]) ** nu
            / temperature
            for k in range(6)
            if counts[k]
        }
        rivals = sum(s[k].exp() for k in s if k != own)
        terms += [s[k] - rivals.log() for k in s if k % 2 == own % 2 and k // 2 != own // 2]
    return -sum(terms) / len(terms)


@pytest.mark.parametrize("given", [{}, {"nu": 0.0}, {"nu": 1.5, "temperature": 0.5}])
def test_the_loss_is_the_formula_with_its_gradient(given):
    ours, theirs = (ROWS.clone().requires_grad_() for _ in range(2))
    first, second = alignment(ours, OWN, CENTROIDS, CELLS, **given), written_out(theirs, **given)
    torch.testing.assert_close(first, second, rtol=0, atol=1e-9)
    first.backward()
    second.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-9)


def test_one_row_by_hand():
    # domains 0 and 1 with one class of 4 rows and 1: the one rival is the partner
    loss = alignment(
        float64([[0.0]]), torch.tensor([0]), float64([[0.0], [3.0]]), float64([[4], [1]])
    )
    assert loss == 0
    cells = float64([[4, 4], [1, 4]])
    at = float64([[9.0], [2.0], [3.0], [1.0]])
    loss = alignment(float64([[0.0]]), torch.tensor([0]), at, cells)
    scores = [-2 / 4, -3 / 4 * math.sqrt(1 / 4), -1 / 4]
    expected = math.log(sum(map(math.exp, scores))) - scores[1]
    assert loss.item() == pytest.approx(expected, abs=1e-9)


def test_scaling_all_counts_divides_the_scores():
    scaled = alignment(ROWS, OWN, CENTROIDS, 3 * CELLS)
    torch.testing.assert_close(scaled, alignment(ROWS, OWN, CENTROIDS, CELLS, temperature=3.0))


def test_one_domain_has_no_pairs():
    assert alignment(ROWS, torch.tensor([0, 1, 0, 1]), CENTROIDS[:2], CELLS[:1]) == 0


class Features(nn.Module):
    """A network whose features are its inputs."""

    def __init__(self, width):
        super().__init__()
        self.head = nn.Linear(width, 3, dtype=torch.float64)

    def features(self, x):
        return x


def test_centroids_move_as_in_the_code():
    x, y = float64(FEATURES).flatten(0, 1), torch.tensor(LABELS)
    groups = torch.arange(2).repeat_interleave(20)
    cells = [row.bincount(minlength=3).tolist() for row in y]
    method, run = run_of("boda", cells, Features(3), progress=0.0, inputs=x)
    assert torch.equal(run.train.labels, y.flatten()) and torch.equal(run.train.groups, groups)
    assert not run.model.refreshed
    run.progress.fill_(0.5)
    run.model.centroids.copy_(float64(CENTROIDS_BEFORE))
    run.model.refreshed.fill_(True)
    method.prepare(run)
    torch.testing.assert_close(run.model.centroids, float64(CENTROIDS_AFTER), rtol=0, atol=1e-5)


def test_the_first_centroids_are_fresh_alone():
    x = float64(FEATURES).flatten(0, 1)
    cells = [torch.tensor(row).bincount(minlength=3).tolist() for row in LABELS]
    _, run = run_of("boda", cells, Features(3), progress=0.5, inputs=x)
    torch.testing.assert_close(run.model.centroids[0], x[:12].mean(0))


@pytest.mark.parametrize(("start", "acts"), [(0.1, True), (0.9, False)])
def test_it_adds_the_gap_at_once_and_the_alignment_from_start_on(start, acts):
    x = float64(FEATURES).flatten(0, 1)
    cells = [torch.tensor(row).bincount(minlength=3).tolist() for row in LABELS]
    method, run = run_of(f"boda(start={start})", cells, Features(3), progress=0.5, inputs=x)
    rows = torch.arange(0, 40, 3)
    labels, groups = run.train.labels[rows], run.train.groups[rows]
    scores = torch.zeros(len(rows), 3).double()
    added = loss_of(method, run, scores, labels, groups, x[rows]) - math.log(3)
    own = groups * 3 + labels
    aligned = alignment(x[rows], own, run.model.centroids, float64(cells))
    expected = gap(x[rows], groups) + (0.1 * aligned if acts else 0)
    torch.testing.assert_close(added, expected)
