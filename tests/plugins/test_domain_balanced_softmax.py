import math

import torch
from by_hand import LABELS, SCORES, assert_loss, cross_entropy, slope, tensors
from of_domains import CELLS, loss_of, run_of

from ltbench.testing import probe_loss

GROUPS = [0, 1, 1]


def test_each_row_gets_the_prior_of_its_own_domain():
    rows = [
        [z + math.log(n) for z, n in zip(row, CELLS[g], strict=True)]
        for row, g in zip(SCORES, GROUPS, strict=True)
    ]
    expected = sum(map(cross_entropy, rows, LABELS)) / 3
    slopes = [[part / 3 for part in slope(*pair)] for pair in zip(rows, LABELS, strict=True)]
    scores, labels = tensors()
    method, run = run_of("domain-balanced-softmax")
    loss = loss_of(method, run, scores, labels, torch.tensor(GROUPS))
    assert_loss(loss, scores, expected, slopes)


def test_a_cell_without_rows_counts_one():
    method, run = run_of("domain-balanced-softmax", [[4, 0], [2, 2]])
    run.groups = torch.tensor([0])
    adjusted = method.adjust(torch.zeros(1, 2, dtype=torch.float64), torch.tensor([0]), run)
    assert adjusted[0].tolist() == [math.log(4), 0.0]


def test_without_domains_it_is_balanced_softmax():
    scores, labels = tensors()
    ours = probe_loss("domain-balanced-softmax", scores, labels, (100, 10, 1))
    torch.testing.assert_close(ours, probe_loss("balanced-softmax", scores, labels, (100, 10, 1)))
