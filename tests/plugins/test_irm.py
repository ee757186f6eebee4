import pytest
import torch
from of_domains import float64, loss_of, run_of
from released_domains import IRM_LABELS, IRM_PENALTY, IRM_SCORES
from torch.nn.functional import cross_entropy

from ltbench_plugins.domains.irm import penalties

LABELS = torch.tensor(IRM_LABELS)


def slope(scores, labels):
    """The slope of the mean cross-entropy in a factor on the scores, at one, by autograd."""
    factor = torch.ones((), dtype=torch.float64, requires_grad=True)
    loss = cross_entropy(factor * scores, labels)
    return torch.autograd.grad(loss, factor, create_graph=True)[0]


def test_the_penalty_is_that_of_the_code():
    (penalty,) = penalties(float64(IRM_SCORES), LABELS, torch.zeros(6).long())
    assert penalty.item() == pytest.approx(IRM_PENALTY, abs=1e-5)


def test_each_domain_has_its_own_with_its_gradient():
    groups = torch.tensor([0, 1, 0, 1, 1, 0])
    ours, theirs = (float64(IRM_SCORES).requires_grad_() for _ in range(2))
    expected = []
    for g in (0, 1):
        z, y = theirs[groups == g], LABELS[groups == g]
        expected.append(slope(z[::2], y[::2]) * slope(z[1::2], y[1::2]))
    first, second = penalties(ours, LABELS, groups).mean(), torch.stack(expected).mean()
    torch.testing.assert_close(first, second, rtol=0, atol=1e-9)
    first.backward()
    second.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-9)


def test_a_domain_with_one_row_has_no_penalty():
    found = penalties(float64(IRM_SCORES)[:3], LABELS[:3], torch.tensor([0, 0, 2]))
    assert len(found) == 2 and found[1] == 0


@pytest.mark.parametrize(("progress", "weight"), [(0.0, 1.0), (0.2, 7.0)])
def test_it_counts_one_at_first_and_the_penalty_from_start_on(progress, weight):
    scores, groups, cells = float64(IRM_SCORES), torch.zeros(6).long(), [[9, 9, 9]]
    method, run = run_of("irm(penalty=7.0, start=0.2)", cells, progress=progress)
    plain = loss_of(*run_of("erm", cells), scores, LABELS, groups)
    added = loss_of(method, run, scores, LABELS, groups) - plain
    assert added.item() == pytest.approx(weight * IRM_PENALTY, abs=1e-4)
