"""Learning from a pool: formulas by the numbers of released code, by hand, and their slopes."""

import pytest
import torch
from oracles import oracle
from torch.nn.functional import cross_entropy

from ltbench.contract.context import Output, Phase, Run
from ltbench.tracks.semi.contract import SemiGrants
from ltbench.tracks.semi.learning import Pooled
from ltbench_plugins.semi.acr import counted
from ltbench_plugins.semi.crest import shares_added
from ltbench_plugins.semi.darp import refined, selection
from ltbench_plugins.semi.distribution_alignment import aligned
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
