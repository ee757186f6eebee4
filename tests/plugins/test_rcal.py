import io

import pytest
import torch

from ltbench import Batch, LTBenchError, Rows, recipe
from ltbench.contract.context import Output, Phase
from ltbench.testing import probe_loss
from ltbench.testing.probes import probe_run
from ltbench.testing.task import COUNTS, trained
from ltbench.training.engine import objective
from ltbench_plugins.stages.rcal import Memory, calibrated, factors, gaussians, typical


def test_rows_far_from_their_class_are_left_out():
    random = torch.Generator().manual_seed(0)
    features = torch.randn(60, 4, generator=random)
    features[[3, 41]] += 30
    keep = typical(features, torch.tensor([0] * 30 + [1] * 30))
    assert keep.nonzero()[:, 0].tolist() == [n for n in range(60) if n not in (3, 41)]


def test_classes_of_one_and_two_rows_keep_them():
    assert typical(torch.randn(3, 4), torch.tensor([0, 1, 1])).all()


def test_a_gaussian_is_of_the_rows_that_are_kept():
    features = torch.tensor([[0.0, 0], [2, 0], [4, 3], [99, 99], [5, 6]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 0, 0, 1])
    keep = torch.tensor([True, True, True, False, True])
    means, covariances = gaussians(features, labels, keep)
    assert means.tolist() == [[2, 1], [5, 6]]
    assert covariances.tolist() == [[[4, 3], [3, 3]], [[0, 0], [0, 0]]]


def test_a_tail_class_borrows_from_the_nearest_head_classes_alone():
    means = torch.tensor([[0.0, 0], [4, 0], [100, 0], [1, 1], [2, 2]], dtype=torch.float64)
    eye = torch.eye(2, dtype=torch.float64)
    covariances = torch.stack([eye, 3 * eye, 50 * eye, 0 * eye, 7 * eye])
    n_c = torch.tensor([100, 100, 100, 5, 5])
    moved, widened = calibrated(means, covariances, n_c, similar=2, trust=0.75)
    assert torch.equal(moved[:3], means[:3])
    assert torch.equal(widened[:3], covariances[:3])
    # the two nearest heads have mean (2, 0) and covariance 2 on average
    torch.testing.assert_close(moved[3], torch.tensor([1.25, 0.75], dtype=torch.float64))
    torch.testing.assert_close(widened[3], 0.5 * eye)


def test_where_all_classes_are_of_one_size_none_borrows():
    means, covariances = torch.randn(3, 2), torch.eye(2).repeat(3, 1, 1)
    moved, _ = calibrated(means, covariances, torch.tensor([7, 7, 7]), similar=2, trust=0.5)
    assert torch.equal(moved, means)


def test_factors_are_roots_of_covariances_without_full_rank():
    x = torch.randn(4, 3, 5, dtype=torch.float64)
    covariances = x.mT @ x
    root = factors(covariances)
    torch.testing.assert_close(root @ root.mT, covariances)


def memory():
    kept = Memory(2, 2).double()
    kept.initial = torch.tensor([[1.0, 0], [0, 1], [2, 2]], dtype=torch.float64)
    kept.means = torch.tensor([[3.0, -1], [0, 5]], dtype=torch.float64)
    kept.factors = torch.tensor([[[2.0, 0], [1, 1]], [[0, 0], [0, 0]]], dtype=torch.float64)
    return kept


def test_drawn_features_follow_the_gaussians_all_classes_alike():
    drawn, labels = memory().draw(40001, torch.Generator().manual_seed(0))
    assert labels.bincount().tolist() == [20001, 20001]
    first = drawn[labels == 0]
    expected = torch.tensor([[4.0, 2], [2, 2]], dtype=torch.float64)
    torch.testing.assert_close(first.mean(0), memory().means[0], rtol=0, atol=0.06)
    torch.testing.assert_close(first.T.cov(), expected, rtol=0, atol=0.12)
    assert (drawn[labels == 1] == memory().means[1]).all()


def main_run(text):
    """A step of the second phase on a network of a linear head, with nothing left to chance."""
    rcal = recipe(text)
    run = probe_run(rcal, (2, 1), torch.float64)
    run.train = Rows(torch.zeros(3, 2, dtype=torch.float64), torch.tensor([0, 0, 1]))
    run.model = torch.nn.Module()
    run.model.head = torch.nn.Linear(2, 2).double()
    run.model.memory = memory()
    run.model.memory.factors.zero_()
    return rcal, run


def test_the_loss_is_that_of_rows_and_of_drawn_features_and_the_pull():
    rcal, run = main_run("rcal(alpha=0.0, pull=0.7)")
    features = torch.tensor([[1.0, 2], [3, 4]], dtype=torch.float64, requires_grad=True)
    rows, labels = torch.tensor([2, 0]), torch.tensor([1, 0])
    head = run.model.head
    batch = rcal.batch(Batch(features, [(labels, 1.0)], rows), run)
    loss = objective(rcal, Output((head(features),), features), batch, run)
    loss.backward()
    x = features.detach().clone().requires_grad_()
    entropy = torch.nn.functional.cross_entropy
    initial = run.model.memory.initial
    # (1 + 1 + 4 + 4) / 6 is the mean square of the initial features
    away = ((x[0] - initial[2]) ** 2 + (x[1] - initial[0]) ** 2).sum() / 4 / (10 / 6)
    drawn = entropy(head(run.model.memory.means), torch.tensor([0, 1]))
    expected = entropy(head(x), labels) + drawn + 0.7 * away
    expected.backward()
    assert abs(loss.item() - expected.item()) < 1e-9
    torch.testing.assert_close(features.grad, x.grad)


def test_a_mixed_row_is_pulled_to_the_same_mix_of_initial_features():
    rcal, run = main_run("rcal(pull=1.0)")
    rows = torch.tensor([2, 0, 1])
    before = run.model.memory.initial[rows]
    mixed = rcal.batch(Batch(before, [(torch.tensor([1, 0, 0]), 1.0)], rows), run)
    assert not torch.equal(mixed.inputs, before)
    run.rng.manual_seed(0)
    there = rcal.extra(Output((), mixed.inputs), mixed, run)
    run.rng.manual_seed(0)
    away = rcal.extra(Output((), mixed.inputs + 1), mixed, run)
    torch.testing.assert_close(away - there, torch.tensor(6 / 10, dtype=torch.float64))


def test_a_class_without_rows_has_no_drawn_features():
    rcal, run = main_run("rcal(alpha=0.0, pull=0.0)")
    run.exact_counts = torch.tensor([0.0, 3.0])
    x = torch.randn(2, 2, dtype=torch.float64)
    batch = rcal.batch(Batch(x, [(torch.tensor([1, 1]), 1.0)], torch.arange(2)), run)
    loss = rcal.extra(Output((), x), batch, run)
    scores = run.model.head(run.model.memory.means[1:])
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(scores, torch.tensor([1])))


def test_labels_and_inputs_are_mixed_alike():
    rcal, run = main_run("rcal")
    x = torch.tensor([[1.0, 0], [0, 1], [5, 5]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1])
    mixed = rcal.batch(Batch(x, [(labels, 1.0)], torch.arange(3)), run)
    (first, share), (second, rest) = mixed.targets
    assert float(share + rest) == 1
    assert (first.tolist(), second.tolist()) == ([0, 0, 1], [1, 0, 0])
    torch.testing.assert_close(mixed.inputs, share * x + rest * x.flip(0))


def test_the_first_phase_never_looks_at_a_label():
    rcal, run = main_run("rcal")
    run.phase = Phase("contrast", 1, 0.1, 0.0)
    run.model.projector = torch.nn.Linear(2, 4).double()
    x = torch.randn(3, 2, dtype=torch.float64)

    def loss(labels):
        run.rng.manual_seed(0)
        batch = rcal.batch(Batch(x, [(torch.tensor(labels), 1.0)], torch.arange(3)), run)
        scores = run.model.head(batch.inputs)
        return objective(rcal, Output((scores,), batch.inputs), batch, run).item()

    assert loss([0, 0, 1]) == loss([1, 1, 0])


def test_a_batch_of_one_row_has_a_finite_slope():
    rcal, run = main_run("rcal")
    x = torch.randn(1, 2, dtype=torch.float64, requires_grad=True)
    batch = rcal.batch(Batch(x, [(torch.tensor([1]), 1.0)], torch.tensor([2])), run)
    output = Output((run.model.head(batch.inputs),), batch.inputs)
    objective(rcal, output, batch, run).backward()
    assert torch.isfinite(x.grad).all()


def test_a_memory_of_any_length_is_restored():
    buffer = io.BytesIO()
    torch.save(memory().state_dict(), buffer)
    buffer.seek(0)
    again = Memory(2, 2).double()
    again.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(again.initial, memory().initial)


def test_a_probe_outside_of_training_sees_plain_cross_entropy():
    scores, labels = torch.randn(4, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    expected = torch.nn.functional.cross_entropy(scores, labels)
    torch.testing.assert_close(probe_loss("rcal", scores, labels, (5, 2, 1)), expected)


def test_too_large_covariances_are_refused():
    model = torch.nn.Module()
    model.head = torch.nn.Linear(20_000, 3)
    rcal = recipe("rcal")
    with pytest.raises(LTBenchError, match="too many"):
        rcal.build(model, probe_run(rcal, (5, 2, 1), torch.float32))


def test_nothing_of_the_method_is_left_in_the_trained_network():
    names = {name for name, _ in trained(recipe("rcal"), COUNTS).model.named_children()}
    assert names == {"trunk", "branch", "head"}
