from itertools import combinations

import pytest
import torch
from of_domains import loss_of, run_of

from ltbench_plugins.domains.coral import gap

FEATURES = torch.randn(9, 4, generator=torch.Generator().manual_seed(0)).double()
GROUPS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 1])


def by_pairs(features, groups):
    """The gap as it is written: over pairs of domains, moments one after the other."""
    gaps = []
    for first, second in combinations(groups.unique().tolist(), 2):
        x, y = features[groups == first], features[groups == second]
        means = (x.mean(0) - y.mean(0)).square().mean()
        gaps.append(means + (x.T.cov() - y.T.cov()).square().mean())
    return sum(gaps) / len(gaps)


def test_the_gap_is_the_mean_over_pairs_of_domains_with_its_gradient():
    ours, theirs = (FEATURES.clone().requires_grad_() for _ in range(2))
    first, second = gap(ours, GROUPS), by_pairs(theirs, GROUPS)
    torch.testing.assert_close(first, second, rtol=0, atol=1e-9)
    first.backward()
    second.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-9)


def test_two_points_by_hand():
    features = torch.tensor([[0.0], [2.0], [1.0], [7.0]]).double()
    # means 1 and 4, variances 2 and 18
    assert float(gap(features, torch.tensor([0, 0, 1, 1]))) == pytest.approx(3**2 + 16**2)


def test_a_domain_with_one_row_is_passed_over():
    groups = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2])
    torch.testing.assert_close(gap(FEATURES, groups), gap(FEATURES[:8], groups[:8]))
    assert gap(FEATURES, torch.zeros(9).long()) == 0


def test_it_is_added_to_the_loss_gamma_times():
    scores, labels = torch.zeros(9, 3).double(), torch.arange(9) % 3
    cells = [[9, 9, 9]] * 3
    plain = loss_of(*run_of("coral(gamma=0.0)", cells), scores, labels, GROUPS, FEATURES)
    added = loss_of(*run_of("coral(gamma=2.0)", cells), scores, labels, GROUPS, FEATURES)
    torch.testing.assert_close(added - plain, 2 * by_pairs(FEATURES, GROUPS))
