import numpy as np
import torch
from of_domains import run_of
from torch import nn

from ltbench import Rows, recipe
from ltbench.scoring.thresholds import best_offsets
from ltbench_plugins.domains.fairopt import adaptive, error_gap

RANDOM = np.random.RandomState(0)


def rows(shift, n=200):
    """Scores of two classes, whose best threshold stands at `shift`."""
    labels = (RANDOM.rand(n) < 0.3).astype(int)
    lead = 3 * (labels - 0.5) + RANDOM.randn(n) + shift
    return np.column_stack([np.zeros(n), lead]), labels


def test_each_group_has_a_threshold_where_its_own_is_best():
    (s0, y0), (s1, y1) = rows(-2.0), rows(2.0)
    groups = np.repeat([0, 1], 200)
    scores, labels = np.concatenate([s0, s1]), np.concatenate([y0, y1])
    offsets = adaptive(scores, labels, groups, 2, 1, 0.5, 0.2)
    np.testing.assert_allclose(offsets[0], best_offsets(s0, y0, "f1", 1))
    np.testing.assert_allclose(offsets[1], best_offsets(s1, y1, "f1", 1))
    assert offsets[0, 1] > 0 > offsets[1, 1]


def test_one_group_has_the_threshold_of_all():
    scores, labels = rows(1.0)
    offsets = adaptive(scores, labels, np.zeros(200, int), 1, 1, 0.5, 0.2)
    np.testing.assert_allclose(offsets[0], best_offsets(scores, labels, "f1", 1))


def test_alike_groups_have_alike_thresholds_and_one_without_rows_that_of_all():
    scores, labels = rows(1.0)
    twice, groups = np.concatenate([scores, scores]), np.repeat([0, 1], 200)
    offsets = adaptive(twice, np.concatenate([labels, labels]), groups, 3, 1, 0.5, 0.2)
    np.testing.assert_allclose(offsets[0], offsets[1])
    np.testing.assert_allclose(offsets[2], best_offsets(twice, np.tile(labels, 2), "f1", 1))


def test_thresholds_move_together_until_errors_are_near_enough():
    # group 1 is all noise: its own best threshold errs far more than that of group 0
    (s0, y0), noise = rows(0.0), RANDOM.randn(200)
    s1 = np.column_stack([np.zeros(200), noise])
    y1 = (RANDOM.rand(200) < 0.3).astype(int)
    groups = np.repeat([0, 1], 200)
    scores, labels = np.concatenate([s0, s1]), np.concatenate([y0, y1])
    ways = [adaptive(scores, labels, groups, 2, 1, 0.0, delta) for delta in (0.9, 0.0)]
    gaps = [error_gap(scores + offsets[groups], labels, groups) for offsets in ways]
    assert gaps[1] <= gaps[0]


def test_a_threshold_below_the_floor_is_that_of_all():
    scores, labels = rows(0.0)
    groups = np.repeat([0, 1], 100)
    pooled = best_offsets(scores, labels, "f1", 1)
    np.testing.assert_allclose(adaptive(scores, labels, groups, 2, 1, 0.999, 1.0), [pooled] * 2)


class Known(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Identity()

    def features(self, x):
        return x


def test_rows_are_decided_by_their_own_groups_threshold_and_plainly_without_groups():
    (s0, y0), (s1, y1) = rows(-2.0), rows(2.0)
    method, run = run_of("fairopt", [[14, 6], [14, 6]], Known())
    held = Rows(
        torch.from_numpy(np.concatenate([s0, s1])),
        torch.from_numpy(np.concatenate([y0, y1])),
        groups=torch.arange(2).repeat_interleave(200),
    )
    run.model = method.finish(run.model, held, run)
    scores = torch.zeros(2, 2).double()
    run.groups = torch.tensor([0, 1])
    assert method.decide(scores, run).tolist() == [1, 0]
    run.groups = None
    assert method.decide(scores + torch.tensor([0.0, 0.1]), run).tolist() == [1, 1]
    assert run.notes[0].startswith("offsets of the rarer class's score, by group:")


def test_without_validation_rows_the_larger_score_decides():
    _, run = run_of("fairopt", [[14, 6], [14, 6]])
    model = nn.Identity()
    assert recipe("fairopt").finish(model, None, run) is model
    assert run.notes == ["no validation rows, so the larger score decides in every group"]
