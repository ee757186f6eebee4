"""Learning from a pool: formulas by the numbers of released code, by hand, and their slopes."""

import pytest
import torch
from oracles import oracle
from torch.nn.functional import cross_entropy

from ltbench.contract.context import Batch, Output, Phase, Run
from ltbench.tracks.semi.contract import SemiGrants
from ltbench.tracks.semi.learning import Pooled
from ltbench_plugins.semi.abc import ABC
from ltbench_plugins.semi.acr import ACR, counted, share_of_consistent
from ltbench_plugins.semi.crest import shares_added, surest
from ltbench_plugins.semi.darp import refined, selected, selection
from ltbench_plugins.semi.daso import blended, keep
from ltbench_plugins.semi.distribution_alignment import aligned
from ltbench_plugins.semi.fixmatch import FixMatch, confident_loss
from ltbench_plugins.semi.iomatch import IOMatch, of_pairs, open_targets
from ltbench_plugins.semi.simpro import SimPro, moved


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def test_alignment_is_that_of_dasos_code():
    told = oracle("semi_dist_align")
    given, params, expected = told["inputs"], told["params"], told["expected"]
    means = torch.zeros(params["queue"], 3, dtype=torch.float64)
    steps = torch.zeros((), dtype=torch.long)
    for which in ("first", "second"):
        target = double(given["target"]) ** params[f"temperature_{which}"]
        found = aligned(double(given[f"p_{which}"]), target / target.sum(), means, steps)
        torch.testing.assert_close(found, double(expected[f"aligned_{which}"]), rtol=0, atol=1e-6)


def test_darp_selects_as_its_code():
    told = oracle("semi_darp_select")
    believed, counts = double(told["inputs"]["saved_q"]), double(told["inputs"]["target_counts"])
    mask, scale = selection(believed, counts, told["params"]["alpha"])
    assert torch.equal(mask.double(), double(told["expected"]["mask"]))
    torch.testing.assert_close(scale, double(told["expected"]["class_scale"]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("which", ["raw", "after_select"])
def test_darp_refines_as_its_code(which):
    told = oracle("semi_darp_refine")
    believed = double(told["inputs"][f"probs_{which}"])
    counts = double(told["inputs"]["target_counts"])
    found, expected = refined(believed, counts), double(told["expected"][which]["refined"])
    torch.testing.assert_close(found, expected, rtol=0, atol=told["tolerance"])
    torch.testing.assert_close(found.sum(dim=0), counts, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(len(found), dtype=torch.float64))


def test_crest_keeps_as_many_as_the_code_where_classes_are_sorted():
    """Of counts that fall by one factor, which the code takes for granted; ranks are of counts."""
    told = oracle("semi_crest_kept")
    shares = told["inputs"]["labelled_share"]["sorted"]
    fall = (shares[-1] / shares[0]) ** (1 / 3)
    falling = double([fall**rank for rank in range(4)])
    number = told["inputs"]["predicted_per_class"]
    expected = double(told["expected"]["kept"]["sorted"])
    for order in ([0, 1, 2, 3], [2, 0, 3, 1]):
        kept = (number * shares_added(falling[order], told["params"]["alpha"]) + 1e-6).floor()
        assert torch.equal(kept, expected[order])


def test_acr_counts_rows_and_not_in_how_many_batches_a_class_occurs():
    told = oracle("semi_acr_count_trap")
    labels = torch.tensor(told["inputs"]["pseudo_labels"])
    sure = torch.ones(len(labels), dtype=torch.bool)
    found = counted(labels, sure, 4)
    assert found.tolist() == [4, 2, 1, 0]
    assert (found > 0).float().tolist() == told["expected"]["now_mask"]


class Model(torch.nn.Module):
    """A place for what a method keeps."""

    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(3, 4).double()


def run_of(method, counts, pool=6, ratio=2.0, progress=0.5):
    counts = double(counts)
    started = Run(
        counts=counts,
        seen=counts / counts.sum(),
        progress=torch.tensor(progress),
        phase=Phase("main", 1, lr=0.1, weight_decay=0.0),
        granted=SemiGrants(pool=torch.zeros(pool, 1), ratio=ratio, view="affine"),
    )
    started.recipe = Pooled(method)
    started.model = method.build(Model(), started)
    return started


def test_simpro_is_its_code():
    told = oracle("semi_simpro")
    given, params, expected = told["inputs"], told["params"], told["expected"]
    method = SimPro(params["tau"], params["cutoff"], params["ema"])
    at = run_of(method, [10, 10, 10, 10])
    at.model.pool_shares.copy_(double(given["unlabelled_prior"]))
    at.model.all_shares.copy_(double(given["all_prior"]))
    weak, rows, total = double(given["weak"]), torch.arange(6), 0.0
    for view in ("strong1", "strong2"):
        scores = double(given[view])
        output = Output((scores,), scores)
        at.model.pool_passed.zero_()
        part = method.unlabelled_loss(Output((weak,), weak), output, rows, at)
        total += part.item() * (2.0 * 40 / 6) / 2  # without the factor of steps; the mean of both
        at.model.pool_shares.copy_(double(given["unlabelled_prior"]))
        at.model.all_shares.copy_(double(given["all_prior"]))
    assert total == pytest.approx(expected["loss_unlabelled"], abs=told["tolerance"])
    labelled = double(given["labelled_weak"] + given["labelled_strong"])
    labels = torch.tensor(given["labels"]).repeat(2)
    loss = cross_entropy(method.adjust(labelled, labels, at), labels) / params["scale_ratio"]
    assert loss.item() == pytest.approx(expected["loss_labelled"], abs=told["tolerance"])
    mass = double(expected["unlabelled_mass"])
    of_pool, of_all = moved(
        torch.full((4,), 0.25, dtype=torch.float64),
        double(given["all_prior"]),
        mass,
        double([1, 0, 1, 1]),
        params["ema"],
    )
    close = dict(rtol=0, atol=told["tolerance"])
    torch.testing.assert_close(
        of_pool, double(expected["next_unlabelled_prior_from_uniform"]), **close
    )
    torch.testing.assert_close(of_all, double(expected["next_all_prior"]), **close)


def test_confident_rows_alone_teach_and_all_rows_divide():
    torch.manual_seed(0)
    scores = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    believed = double([[0.96, 0.04, 0], [0.5, 0.5, 0], [0, 0.95, 0.05], [0, 0.1, 0.9], [1, 0, 0]])
    by_hand = -sum(scores.log_softmax(1)[i, c] for i, c in ((0, 0), (2, 1), (4, 0))) / 5
    torch.testing.assert_close(confident_loss(scores, believed, 0.95), by_hand)
    assert torch.autograd.gradcheck(lambda z: confident_loss(z, believed, 0.95), scores)
    twice = confident_loss(scores.repeat(2, 1), believed.repeat(2, 1), 0.95)
    torch.testing.assert_close(twice, by_hand)
    assert confident_loss(scores, believed, 1.01).item() == 0


def test_beliefs_go_through_every_method_in_the_order_of_the_recipe():
    class Times(FixMatch):
        def believe(self, probabilities, rows, run):
            return probabilities * 2

    class Plus(FixMatch):
        def believe(self, probabilities, rows, run):
            return probabilities + 1

    Times.name, Plus.name = "times", "plus"
    at = run_of(FixMatch(), [1, 1])
    given = torch.ones(1, 2), torch.arange(1), at
    assert Pooled(Times(), Plus()).believe(*given).tolist() == [[3, 3]]
    assert Pooled(Plus(), Times()).believe(*given).tolist() == [[4, 4]]
    assert Pooled(FixMatch()).believe(*given).tolist() == [[1, 1]]


def test_alignment_knows_no_class_by_its_number():
    torch.manual_seed(0)
    believed, target = torch.rand(7, 4).softmax(1), torch.tensor([0.6, 0.1, 0.2, 0.1])
    order = torch.tensor([2, 0, 3, 1])

    def found(p, t):
        return aligned(p, t, torch.zeros(128, 4), torch.zeros((), dtype=torch.long))

    torch.testing.assert_close(
        found(believed, target)[:, order], found(believed[:, order], target[order])
    )
    alike = believed.mean(0)
    torch.testing.assert_close(found(believed, alike), believed)  # nothing to mend


def test_darp_leaves_beliefs_that_fit_and_knows_no_class_by_its_number():
    torch.manual_seed(0)
    believed = torch.randn(40, 4, dtype=torch.float64).softmax(1)
    torch.testing.assert_close(refined(believed, believed.sum(0)), believed)
    counts, order = double([20, 12, 6, 2]), torch.tensor([2, 0, 3, 1])
    mended = refined(selected(believed, counts, 2.0), counts)
    torch.testing.assert_close(mended.sum(0), counts, rtol=0, atol=1e-5)
    renamed = refined(selected(believed[:, order], counts[order], 2.0), counts[order])
    torch.testing.assert_close(mended[:, order], renamed, rtol=0, atol=1e-6)


def test_darp_mends_rows_that_are_sure():
    believed = double([[1 - 1e-9, 1e-9], [1e-9, 1 - 1e-9], [0.5, 0.5], [0.6, 0.4]])
    found = refined(believed, double([3, 1]))
    assert torch.isfinite(found).all() and found.sum(0).tolist() == pytest.approx([3, 1], abs=1e-4)


def test_the_surest_rows_of_each_class_are_added():
    sure = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    told = torch.tensor([0, 1, 0, 0, 1, 0])
    kept = surest(sure, told, torch.tensor([0.5, 1.0]))
    assert kept.tolist() == [True, True, True, False, True, False]
    assert surest(sure, told, torch.tensor([1.0, 0.4])).tolist() == [1, 0, 1, 1, 0, 1]


def test_equal_counts_are_added_alike():
    shares = shares_added(double([30, 2, 2, 2]), 3.0)
    assert shares[1:].tolist() == pytest.approx([shares[1].item()] * 3)


def test_how_much_acr_adjusts_follows_from_the_distances_by_hand():
    labelled = double([0.7, 0.2, 0.1])
    turned, alike = double([0.1, 0.2, 0.7]), double([1 / 3] * 3)

    def gap(one, other):
        return ((one - other) * (one / other).log()).sum().item() / 2

    anchors = (labelled, alike, turned)
    for estimated in anchors:
        gaps = [gap(estimated, anchor) for anchor in anchors]
        by_hand = torch.tensor(gaps).exp()[0] / torch.tensor(gaps).exp().sum()
        found = share_of_consistent(estimated, labelled)
        assert found.item() == pytest.approx(by_hand.item(), abs=1e-4)
    renamed = torch.tensor([2, 0, 1])
    torch.testing.assert_close(
        share_of_consistent(turned, labelled),
        share_of_consistent(turned[renamed], labelled[renamed]),
    )
    same = share_of_consistent(alike, alike)
    assert same.item() == pytest.approx(1 / 3)  # the three tie


def test_daso_blends_by_how_often_a_class_is_told():
    p, q = double([[0.8, 0.2], [0.3, 0.7]]), double([[0.1, 0.9], [0.6, 0.4]])
    told = double([8, 2])
    found = blended(p, q, told, 1.5)
    share = (0.2 / 0.8) ** (1 / 1.5)
    torch.testing.assert_close(found, torch.stack([q[0], (1 - share) * p[1] + share * q[1]]))
    torch.testing.assert_close(blended(p, q, told, 1e9), q)  # all are blended wholly
    torch.testing.assert_close(blended(p, q, told, 0.01), torch.stack([q[0], p[1]]))
    torch.testing.assert_close(blended(p, q, torch.zeros(2).double(), 1.5), p)  # none told yet


def test_features_take_the_place_of_the_oldest_of_their_class():
    kept, seen = torch.zeros(2, 3, 1), torch.zeros(2, dtype=torch.long)
    keep(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0, 1, 0]), kept, seen)
    keep(torch.tensor([[4.0], [5.0]]), torch.tensor([0, 0]), kept, seen)
    assert kept[:, :, 0].tolist() == [[5, 3, 4], [2, 0, 0]]
    assert seen.tolist() == [4, 1]


def heads_of(method, counts):
    torch.manual_seed(0)
    at = run_of(method, counts)
    at.model.double()
    features = torch.randn(6, 3, dtype=torch.float64)
    return at, features, at.model.head.plain(features)


def test_abc_counts_every_row_where_classes_are_equal():
    at, features, scores = heads_of(ABC(), [5, 5, 5, 5])
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    found = ABC().extra(Output((scores,), features), batch_of(labels), at)
    torch.testing.assert_close(found, cross_entropy(at.model.head.balanced(features), labels))


def test_abc_counts_frequent_classes_seldom():
    at, features, scores = heads_of(ABC(), [20, 5, 5, 1])
    labels = torch.tensor([0, 0, 0, 0, 0, 3])
    each = cross_entropy(at.model.head.balanced(features), labels, reduction="none")
    expected = (each[:5].sum() / 20 + each[5]) / 6
    output, batch = Output((scores,), features), batch_of(labels)
    found = torch.stack([ABC().extra(output, batch, at) for _ in range(4000)])
    assert found.mean().item() == pytest.approx(expected.item(), rel=0.03)


def test_abc_learns_soft_labels_of_its_own_head():
    at, features, scores = heads_of(ABC(threshold=0.0), [5, 5, 5, 5])
    output = Output((scores,), features)
    found = ABC(threshold=0.0).unlabelled_loss(output, output, torch.arange(6), at)
    logs = at.model.head.balanced(features).log_softmax(1)
    torch.testing.assert_close(found, -(logs.exp() * logs).sum(1).mean())
    assert ABC(threshold=1.1).unlabelled_loss(output, output, torch.arange(6), at).item() == 0


def test_two_heads_decide_by_the_balanced_one():
    at, features, scores = heads_of(ABC(), [5, 5, 5, 5])
    head = at.model.head
    assert torch.equal(head.train()(features), scores)
    assert torch.equal(head.eval()(features), head.balanced(features))


def test_acr_by_hand():
    method = ACR(tau=1.5, threshold=0.5, warmup=0.0)
    at, features, scores = heads_of(method, [20, 5, 5, 1])
    other = torch.randn(6, 3, dtype=torch.float64)
    head, prior = at.model.head, (double([20, 5, 5, 1]) / 31).log()
    strong = Output((head.plain(other),), other)
    tau = 1.5 * share_of_consistent(at.model.acr_shares, prior.exp())
    total = 0.0
    for seen, learns, by in (
        (scores, head.plain(other), tau),
        (head.balanced(features), head.balanced(other), 1.5),
    ):
        for i in range(6):
            p, raw = (scores[i] - by * prior).softmax(0), seen[i].softmax(0)
            if max(p.max(), raw.max()) >= 0.5:
                total -= learns[i].log_softmax(0)[p.argmax()] / 6
    found = method.unlabelled_loss(Output((scores,), features), strong, torch.arange(6), at)
    torch.testing.assert_close(found, total)


def batch_of(labels):
    return Batch(torch.zeros(len(labels), 1), [(labels, 1.0)], torch.arange(len(labels)))


def test_iomatch_is_its_code():
    told = oracle("semi_iomatch")
    given, expected = told["inputs"], told["expected"]
    pairs = double(given["multi_binary_logits"]).unflatten(1, (2, -1)).requires_grad_()
    labels, believed = torch.tensor(given["labels"]), double(given["closed_probs"])
    loss = of_pairs(pairs, labels).mean()
    assert loss.item() == pytest.approx(expected["mb_loss"], abs=told["tolerance"])
    assert torch.autograd.gradcheck(lambda x: of_pairs(x, labels), pairs)
    found, close = open_targets(believed, pairs), dict(rtol=0, atol=told["tolerance"])
    torch.testing.assert_close(found.detach(), double(expected["open_targets"]), **close)
    torch.testing.assert_close(found.sum(dim=1), double(expected["open_sum"]), **close)
    inlier = found[:, -1] < told["params"]["q_cutoff"]
    assert inlier.double().tolist() == expected["inlier"]


def test_a_row_that_is_of_no_class_is_wholly_unknown():
    pairs = torch.stack([torch.full((2, 3), 50.0), torch.zeros(2, 3)], dim=1)
    found = open_targets(torch.full((2, 3), 1 / 3), pairs)
    torch.testing.assert_close(found, torch.tensor([[0.0, 0, 0, 1]] * 2))


def test_iomatch_by_hand():
    method = IOMatch(threshold=0.3, warmup=0.0)
    torch.manual_seed(0)
    at = run_of(method, [5, 5, 5, 5])
    at.model.double()
    features, other = torch.randn(2, 6, 3, dtype=torch.float64)
    head = at.model.head
    weak, strong = (Output((head(one),), one) for one in (features, other))
    means = torch.zeros(128, 4, dtype=torch.float64)
    alike = torch.full((4,), 0.25, dtype=torch.float64)
    p = aligned(head(features).softmax(1), alike, means, torch.zeros((), dtype=torch.long))
    told, total = open_targets(p, head.pairs(features)), 0.0
    for i in range(6):
        if told[i, -1] < 0.5 and p[i].max() >= 0.3:
            total -= (p[i] * head(other)[i].log_softmax(0)).sum() / 6
        if told[i].max() >= 0.5:
            total -= (told[i] * head.opened(other)[i].log_softmax(0)).sum() / 6
    found = method.unlabelled_loss(weak, strong, torch.arange(6), at)
    torch.testing.assert_close(found, torch.as_tensor(total))
