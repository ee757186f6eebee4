import pytest
import torch
from by_hand import COUNTS, LABELS, SCORES, cross_entropy, slope

from ltbench import Batch, recipe
from ltbench.contract.context import Output
from ltbench.testing.probes import probe_run
from ltbench.training.engine import objective


def mixed(text="remix", seed=0, counts=COUNTS, labels=(0, 0, 1, 1, 2, 2)):
    method = recipe(text)
    run = probe_run(method, counts, torch.float64)
    run.rng.manual_seed(seed)
    labels = torch.tensor(labels)
    x = torch.randn(len(labels), 4, generator=torch.Generator().manual_seed(1)).double()
    batch = Batch(x, [(labels, 1.0)], torch.arange(len(labels)))
    return method, run, x, method.batch(batch, run)


def drawn_share(seed):
    """The share that mixup draws from the same generator."""
    return mixed("mixup", seed)[3].targets[0][1]


def part_by_hand(share, n_first, n_second):
    if n_first / n_second >= 3 and share < 0.5:
        return 0.0
    if n_first / n_second <= 1 / 3 and 1 - share < 0.5:
        return 1.0
    return share


def test_inputs_are_blended_as_in_mixup():
    for seed in range(10):
        assert torch.equal(mixed("remix", seed)[3].inputs, mixed("mixup", seed)[3].inputs)


def test_labels_follow_the_three_cases_of_the_paper():
    for seed in range(20):
        share = float(drawn_share(seed))
        (first, part), (second, rest) = mixed(seed=seed)[3].targets
        expected = [
            part_by_hand(share, COUNTS[i], COUNTS[j])
            for i, j in zip(first.tolist(), second.tolist(), strict=True)
        ]
        assert part.tolist() == pytest.approx(expected, abs=1e-6)
        assert rest.tolist() == pytest.approx([1 - e for e in expected], abs=1e-6)


def test_the_rarer_class_takes_the_whole_label_whichever_comes_first():
    (method,) = recipe("remix").methods
    common, rare = torch.tensor([0.9]), torch.tensor([0.1])
    assert method.part(torch.tensor(0.4), common, rare).item() == 0
    assert method.part(torch.tensor(0.6), rare, common).item() == 1


def test_an_input_that_is_mostly_of_the_common_class_keeps_its_share():
    (method,) = recipe("remix").methods
    common, rare = torch.tensor([0.9]), torch.tensor([0.1])
    assert method.part(torch.tensor(0.75), common, rare).item() == 0.75
    assert method.part(torch.tensor(0.25), rare, common).item() == 0.25


@pytest.mark.parametrize(("counts", "part"), [((30, 10), 0.0), ((29, 10), 0.25)])
def test_a_ratio_of_exactly_kappa_is_enough(counts, part):
    first, second = (torch.tensor([n / sum(counts)]) for n in counts)
    (method,) = recipe("remix").methods
    assert method.part(torch.tensor(0.25), first, second).item() == part


def test_tau_0_is_mixup():
    remix, mixup = mixed("remix(tau=0)", 3)[3], mixed("mixup", 3)[3]
    assert torch.equal(remix.inputs, mixup.inputs)
    for (labels, share), (expected, whole) in zip(remix.targets, mixup.targets, strict=True):
        assert torch.equal(labels, expected)
        assert torch.equal(share, whole.expand(len(labels)))


def test_equal_classes_are_mixed_as_in_mixup():
    for seed in range(5):
        _, _, _, batch = mixed(seed=seed, counts=(7, 7, 7))
        assert torch.equal(batch.targets[0][1], drawn_share(seed).expand(6))


def test_the_loss_and_its_slope_are_those_of_each_pair_by_hand():
    method = recipe("remix")
    run = probe_run(method, COUNTS, torch.float64)
    labels, other = torch.tensor(LABELS), torch.tensor([1, 0, 1])
    share = torch.tensor(0.25, dtype=torch.float64)
    part = method.methods[0].part(share, run.seen[labels], run.seen[other])
    by_hand = [0.0, 0.25, 0.25]  # 100 to 10; 1 to 100, mostly of the common class; 10 to 10
    batch = Batch(torch.zeros(3, 1), [(labels, part), (other, 1 - part)], torch.arange(3))
    scores = torch.tensor(SCORES, dtype=torch.float64, requires_grad=True)
    loss = objective(method, Output((scores,), scores), batch, run)
    pairs = list(zip(SCORES, LABELS, other.tolist(), by_hand, strict=True))
    expected = [g * cross_entropy(z, y) + (1 - g) * cross_entropy(z, o) for z, y, o, g in pairs]
    slopes = [
        [(g * a + (1 - g) * b) / 3 for a, b in zip(slope(z, y), slope(z, o), strict=True)]
        for z, y, o, g in pairs
    ]
    assert loss.item() == pytest.approx(sum(expected) / 3, abs=1e-9)
    loss.backward()
    torch.testing.assert_close(scores.grad, torch.tensor(slopes, dtype=torch.float64))


def test_a_batch_of_one_row_stays_as_it_is():
    method, run, x, batch = mixed(labels=(2,))
    torch.testing.assert_close(batch.inputs, x)
    scores = torch.randn(1, 3, dtype=torch.float64)
    loss = objective(method, Output((scores,), scores), batch, run)
    expected = torch.nn.functional.cross_entropy(scores, torch.tensor([2]))
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)


def test_rows_without_labels_pass_through():
    method = recipe("remix")
    run = probe_run(method, COUNTS, torch.float64)
    x = torch.randn(6, 4, dtype=torch.float64)
    batch = method.batch(Batch(x, [(torch.tensor([0, 1, 2]), 1.0)], torch.arange(3)), run)
    assert torch.equal(batch.inputs[3:], x[3:])
    assert all(len(labels) == 3 for labels, _ in batch.targets)
