"""BRL: what is taken and what keeps its place, shares of labels, late weights, both together."""

import math

import pytest
import torch
from oracles import oracle

from ltbench import Batch, Rows, recipe
from ltbench.contract.context import Phase, Run
from ltbench.testing.probes import probe_loss
from ltbench.tracks.sequences.checks import trained
from ltbench.tracks.sequences.contract import SequenceGrants
from ltbench_plugins.sequences.brl import BRL, ActionAware, PartMix

NTU = [int(600 * 0.01 ** (c / 59)) for c in range(60)]
"""Rows of the classes of NTU RGB+D 60-LT."""


def run_of(counts, parts=((0, 1), (2,)), progress=1.0):
    counts = torch.tensor(counts, dtype=torch.float64)
    channels = 1 + max(c for part in parts for c in part)
    within = torch.tensor([[c in part for c in range(channels)] for part in parts])
    run = Run(
        counts=counts,
        seen=counts / counts.sum(),
        progress=torch.tensor(progress, dtype=torch.float64),
        phase=Phase("main", 24, lr=0.1, weight_decay=0.0),
        granted=SequenceGrants(parts=within),
    )
    run.train = Rows(torch.zeros(1, channels, 1), torch.zeros(1).long())
    run.rng.manual_seed(0)
    return run


def batch_of(labels, channels=3, steps=4):
    """Rows of which each number tells the row and the channel."""
    n = len(labels)
    row = 100.0 * torch.arange(n)[:, None, None]
    x = (row + torch.arange(channels)[None, :, None]).expand(n, channels, steps).double()
    return Batch(x, [(torch.tensor(labels), 1.0)], torch.arange(n))


def with_others(method, labels, other, counts, row=0):
    """The shares of row 0 of `labels` and row 1 of `other`, the first taking from the second."""
    run = run_of(counts)
    batch = batch_of([labels, other])
    partner = torch.tensor([1, 1])
    ((_, own), (_, taken)) = method.taking(partner, batch, run).targets
    return own[row].item(), taken[row].item()


def test_the_last_part_is_that_of_the_partner_at_all_steps_and_all_keep_their_places():
    found = PartMix().taking(torch.tensor([2, 1, 2]), batch_of([0, 1, 2]), run_of([9, 9, 9]))
    assert found.inputs[:, :, 0].tolist() == [[0, 1, 202], [100, 101, 102], [200, 201, 202]]
    assert torch.equal(found.inputs, found.inputs[:, :, :1].expand(-1, -1, 4))
    (own, first), (taken, second) = found.targets
    assert own.tolist() == [0, 1, 2] and taken.tolist() == [2, 1, 2]
    assert first.tolist() == [0.64, 1, 1]
    assert second.tolist() == pytest.approx([0.36, 0, 0])


def test_equal_counts_share_by_alpha():
    assert with_others(PartMix(), 0, 1, [7, 7]) == pytest.approx((0.64, 0.36))


@pytest.mark.parametrize(
    ("counts", "share"), [((31, 10), 0.0), ((30, 10), 0.64), ((10, 30), 0.64), ((10, 31), 1.0)]
)
def test_more_than_k_times_the_rows_credit_the_rarer_alone(counts, share):
    assert with_others(PartMix(), 0, 1, counts) == pytest.approx((share, 1 - share))
    plain = PartMix(rebalanced=False)
    assert with_others(plain, 0, 1, counts) == pytest.approx((0.64, 0.36))


def test_rows_that_are_not_mixed_have_their_label_alone():
    assert with_others(PartMix(), 0, 1, [90, 1], row=1) == (1.0, 0.0)


@pytest.mark.parametrize("case", range(8))
def test_labels_and_shares_are_those_of_released_code(case):
    told = oracle("brl_rebalanced_mix")
    assert told["counts"] == NTU
    told = told["cases"][case]
    labels, row = told["labels"], told["mixed_row"]
    upper = [*range(1, 12), *range(20, 25)]
    lower = [0, *range(12, 20)]
    drawn = [value for value in told["joint_values_of_mixed_row_frame0"] if value // 100 != row]
    other = int(drawn[0] // 100)
    partner = torch.arange(16)
    partner[row] = other
    run = run_of(NTU, parts=(upper, lower))
    found = PartMix().taking(partner, batch_of(labels, channels=25), run)
    (own, first), (taken, _) = found.targets
    assert own.tolist() == told["label_a"] and taken.tolist() == told["label_b"]
    assert first[row].item() == pytest.approx(told["alpha_of_label_a"])
    # the same joints from the same rows, but each at its place
    here = found.inputs[row, :, 0].tolist()
    assert sorted(here) == sorted(told["joint_values_of_mixed_row_frame0"])
    assert [int(value) % 100 for value in here] == list(range(25))
    scrambled = [int(value) % 100 for value in told["joint_values_of_mixed_row_frame0"]]
    assert scrambled == upper + lower


def test_one_row_in_sixteen_is_mixed_with_another_one():
    run = run_of([9] * 16)
    for _ in range(50):
        found = PartMix().batch(batch_of(list(range(16))), run)
        other = found.inputs[:, 2, 0] != batch_of(list(range(16))).inputs[:, 2, 0]
        assert other.sum() == 1 and torch.equal(found.targets[1][0] != torch.arange(16), other)


def test_partners_are_drawn_from_all_rows_and_half_of_them_can_be_mixed():
    run, labels = run_of([9] * 8), list(range(8))
    met = torch.zeros(8, 8)
    for _ in range(400):
        taken = PartMix(ratio=0.5).batch(batch_of(labels), run).targets[1][0]
        mixed = (taken != torch.arange(8)).nonzero()[:, 0]
        assert len(mixed) == 4
        met[mixed, taken[mixed]] += 1
    assert met.diagonal().sum() == 0
    assert met[~torch.eye(8).bool()].min() > 10  # 28.6 are expected


def test_shares_of_a_batch_that_is_mixed_already_are_multiplied():
    batch = batch_of([0, 1])
    first = torch.tensor([0, 1]), torch.tensor([0.25, 0.25])
    second = torch.tensor([1, 0]), torch.tensor([0.75, 0.75])
    given = Batch(batch.inputs, [first, second], batch.rows)
    found = PartMix().taking(torch.tensor([1, 1]), given, run_of([5, 5])).targets
    assert sum(share[0].item() for _, share in found) == pytest.approx(1)
    assert [share[0].item() for _, share in found] == pytest.approx([0.16, 0.09, 0.48, 0.27])


def test_the_objective_of_a_mixed_batch_is_worked_by_hand_with_its_gradient():
    scores = torch.tensor([[2.0, 0.0], [0.0, 1.0]], dtype=torch.float64, requires_grad=True)
    run = run_of([40, 10])
    found = PartMix().taking(torch.tensor([1, 1]), batch_of([0, 1]), run)
    losses = [
        (share * torch.nn.functional.cross_entropy(scores, labels, reduction="none")).mean()
        for labels, share in found.targets
    ]
    loss = sum(losses)
    # 40 > 3 * 10, so row 0 counts for class 1 alone
    by_hand = (math.log(1 + math.exp(2)) + math.log(1 + math.exp(-1))) / 2
    assert loss.item() == pytest.approx(by_hand, abs=1e-12)
    loss.backward()
    up = 1 / (1 + math.exp(-2)) / 2
    assert scores.grad[0].tolist() == pytest.approx([up, -up], abs=1e-12)


def weights_of(counts, progress=1.0):
    method, run = ActionAware(), run_of(counts, progress=progress)
    method.prepare(run)
    return method.weight(torch.arange(len(counts)), run)


def test_each_class_has_a_beta_of_its_own():
    raw = []
    for n in (100, 10, 1):
        beta = 0.99 + 0.0099 * (n - 1) / 99
        raw.append((1 - beta) / (1 - beta**n))
    by_hand = [3 * one / sum(raw) for one in raw]
    assert weights_of([100, 10, 1]).tolist() == pytest.approx(by_hand, abs=1e-12)
    assert by_hand == pytest.approx([0.02706, 0.28046, 2.69248], abs=1e-5)


def test_equal_counts_have_weight_one():
    assert weights_of([7, 7, 7]).tolist() == pytest.approx([1, 1, 1], abs=1e-12)


def test_rounding_of_shares_makes_no_classes_unequal():
    method, run = ActionAware(), run_of([100, 10, 1])
    run.seen = torch.tensor([1 / 3 + 1e-9, 1 / 3, 1 / 3 - 1e-9])
    method.prepare(run)
    assert method.weights.tolist() == pytest.approx([1, 1, 1], abs=1e-4)


@pytest.mark.parametrize(("progress", "late"), [(18.9 / 24, False), (19 / 24, True), (1, True)])
def test_weights_come_in_the_last_five_of_24_epochs_and_stay(progress, late):
    """The released code has them in every other of these epochs alone."""
    found = weights_of([100, 10, 1], progress)
    assert torch.equal(found, weights_of([100, 10, 1]) if late else torch.ones(3).double())


def test_the_loss_is_divided_by_the_weights_of_its_rows():
    scores = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.5]], dtype=torch.float64)
    scores.requires_grad_()
    labels = torch.tensor([0, 2])
    loss = probe_loss("action-aware", scores, labels, [100, 10, 1])
    w = weights_of([100, 10, 1])[labels]
    each = torch.nn.functional.cross_entropy(scores.detach(), labels, reduction="none")
    assert loss.item() == pytest.approx(((w * each).sum() / w.sum()).item(), abs=1e-12)
    (slope,) = torch.autograd.grad(loss, scores)
    p = scores.detach().softmax(dim=1)
    p[[0, 1], labels] -= 1
    assert torch.allclose(slope, p * (w / w.sum())[:, None], atol=1e-12)


def test_both_parts_are_the_whole_and_each_can_be_had_alone():
    def scores(text):
        return trained(recipe(text), (24, 12, 6, 4)).scores

    assert torch.equal(scores("brl"), scores("part-mix+action-aware"))
    assert torch.equal(scores("brl(start=1.0)"), scores("part-mix"))
    assert torch.equal(scores("brl(ratio=0.0)"), scores("action-aware"))
    assert torch.equal(scores("brl(ratio=0.0,start=1.0)"), scores("erm"))
    assert not torch.equal(scores("part-mix"), scores("erm"))


def test_weights_alone_need_no_parts():
    assert not ActionAware.needs and PartMix.needs == BRL.needs == {"parts"}
