import torch
from by_hand import COUNTS

from ltbench import Batch, recipe
from ltbench.contract.context import Output
from ltbench.testing.probes import probe_run
from ltbench.training.engine import objective


def mixed(alpha=1.0, seed=0):
    mixup = recipe(f"mixup(alpha={alpha})")
    run = probe_run(mixup, COUNTS, torch.float64)
    run.rng.manual_seed(seed)
    x = torch.randn(6, 4, dtype=torch.float64)
    y = torch.tensor([0, 0, 1, 1, 2, 2])
    return mixup, run, x, y, mixup.batch(Batch(x, [(y, 1.0)], torch.arange(6)), run)


def test_inputs_and_labels_are_mixed_in_the_same_share():
    _, _, x, y, batch = mixed()
    (first, share), (second, rest) = batch.targets
    assert torch.equal(first, y)
    assert float(share + rest) == 1
    # whichever order was drawn, it explains inputs and labels alike
    other = (batch.inputs - share * x) / (1 - share)
    order = torch.cdist(other, x).argmin(dim=1)
    torch.testing.assert_close(other, x[order])
    assert torch.equal(second, y[order])


def test_the_loss_is_mixed_in_that_share():
    mixup, run, _, _, batch = mixed()
    scores = torch.randn(6, 3, dtype=torch.float64)
    (first, share), (second, rest) = batch.targets
    cross_entropy = torch.nn.functional.cross_entropy
    expected = share * cross_entropy(scores, first) + rest * cross_entropy(scores, second)
    loss = objective(mixup, Output((scores,), scores), batch, run)
    torch.testing.assert_close(loss, expected)


def test_shares_follow_the_beta_distribution():
    for alpha in (0.2, 1.0, 5.0):
        shares = torch.tensor([float(mixed(alpha, seed)[4].targets[0][1]) for seed in range(2000)])
        assert abs(shares.mean() - 0.5) < 0.03
        assert abs(shares.var() - 1 / (4 * (2 * alpha + 1))) < 0.015


def test_class_weights_go_with_each_label_of_a_pair():
    both = recipe("mixup+inverse-frequency")
    run = probe_run(both, COUNTS, torch.float64)
    y, z = torch.tensor([0, 1]), torch.tensor([2, 1])
    batch = Batch(torch.zeros(2, 1), [(y, 0.75), (z, 0.25)], torch.arange(2))
    scores = torch.randn(2, 3, dtype=torch.float64)
    losses = [
        torch.nn.functional.cross_entropy(scores, labels, reduction="none") for labels in (y, z)
    ]
    weights = torch.tensor([1 / n for n in COUNTS], dtype=torch.float64)
    first = (weights[y] * losses[0]).sum() / weights[y].sum()
    second = (weights[z] * losses[1]).sum() / weights[z].sum()
    expected = 0.75 * first + 0.25 * second  # as torch's weighted mean of each label would be
    torch.testing.assert_close(objective(both, Output((scores,), scores), batch, run), expected)


def test_rows_at_the_side_stay_as_they_are():
    _, run, x, y, _ = mixed()
    side = torch.full_like(x[:2], 7.0)
    batch = Batch(torch.cat([x, side]), [(y, 1.0)], torch.arange(len(x)))
    mixed_batch = recipe("mixup").batch(batch, run)
    assert torch.equal(mixed_batch.inputs[len(x) :], side)
    assert [len(labels) for labels, _ in mixed_batch.targets] == [len(x), len(x)]
