import torch
from of_domains import run_of

from ltbench import Batch
from ltbench_plugins.domains.inter_domain_mixup import following

GROUPS = torch.tensor([0, 0, 1, 1, 2, 2])
CELLS = [[2, 2, 2]] * 3


def mixed(seed=0, alpha=0.2, groups=GROUPS):
    method, run = run_of(f"inter-domain-mixup(alpha={alpha})", CELLS)
    run.rng.manual_seed(seed)
    x = torch.randn(6, 2, 2, generator=torch.Generator().manual_seed(5)).double()
    y = torch.arange(6) % 3
    batch = Batch(x, [(y, 1.0)], torch.arange(6), groups=(groups,))
    return x, y, method.batch(batch, run)


def test_inputs_labels_and_groups_are_mixed_in_one_share_a_domain():
    x, y, batch = mixed()
    (first, share), (second, rest) = batch.targets
    assert torch.equal(first, y)
    torch.testing.assert_close(share + rest, torch.ones(6))
    assert torch.equal(share[0::2], share[1::2])  # two rows a domain
    other = (batch.inputs - share.view(-1, 1, 1) * x) / (1 - share.view(-1, 1, 1))
    partner = torch.cdist(other.flatten(1), x.flatten(1)).argmin(1)
    assert torch.equal(second, y[partner])
    assert torch.equal(batch.groups[1], GROUPS[partner])


def test_each_domain_is_mixed_with_one_other_in_a_cycle():
    pairs = set()
    for seed in range(30):
        _, _, batch = mixed(seed)
        own, other = batch.groups
        after = {int(a): int(b) for a, b in zip(own, other, strict=True)}
        assert sorted(after.values()) == [0, 1, 2]
        assert all(a != b for a, b in after.items())
        pairs.add(after[0])
    assert pairs == {1, 2}


def test_a_domain_that_a_batch_lacks_is_passed_over():
    _, run = run_of("inter-domain-mixup", CELLS)
    after = following(torch.tensor([0, 2, 2]), 3, run)
    assert after[0] == 2 and after[2] == 0
    assert following(torch.tensor([1, 1]), 3, run)[1] == 1


def test_shares_follow_the_beta_distribution():
    shares = torch.tensor([float(mixed(seed, 2.0)[2].targets[0][1][0]) for seed in range(500)])
    assert abs(shares.mean() - 0.5) < 0.04
    assert abs(shares.var() - 1 / (4 * (2 * 2.0 + 1))) < 0.012
