from types import SimpleNamespace

import pytest
import torch
from msgspec.structs import replace

from ltbench import Recipe, recipe
from ltbench.testing.task import rows_of
from ltbench.tracks.distillation.checks import BUDGET, COUNTS, distilled
from ltbench_plugins.distillation.distribution_matching import batches, blends, stored


def test_the_distance_is_between_mean_features_summed_over_classes():
    real = torch.tensor([[1.0, 0.0], [3.0, 2.0], [5.0, 5.0]], dtype=torch.float64)
    made = torch.tensor([[[0.0, 0.0], [1.0, 1.0]], [[5.0, 4.0], [5.0, 6.0]]], dtype=torch.float64)
    run = SimpleNamespace(num_classes=2)
    found = recipe("dm").methods[0].distance(real, torch.tensor([0, 0, 1]), made, run)
    # (2, 1) against (0.5, 0.5), and (5, 5) against (5, 5)
    assert found.item() == pytest.approx(1.5**2 + 0.5**2)


def test_a_step_is_sgd_with_half_of_the_last_one():
    optimizer = recipe("dm(lr=0.3)").methods[0].optimizer_of(torch.zeros(1), None)
    group = optimizer.param_groups[0]
    assert (type(optimizer).__name__, group["lr"], group["momentum"]) == ("SGD", 0.3, 0.5)


def test_a_batch_has_the_asked_number_of_each_class_or_all_it_has():
    labels = torch.tensor([2, 0, 1, 0, 0, 1, 0])
    run = SimpleNamespace(
        num_classes=3,
        granted=SimpleNamespace(distilling=replace(BUDGET, rows=3)),
        rng=torch.Generator().manual_seed(0),
        device="cpu",
    )
    seen = set()
    for _, index in zip(range(20), batches(labels, run), strict=False):
        assert labels[index].tolist() == [0, 0, 0, 1, 1, 2]
        assert len(index.unique()) == 6
        seen.update(index[:3].tolist())
    assert seen == {1, 3, 4, 6}


def test_a_blend_lies_between_the_start_and_the_end_of_one_network():
    start, end = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    run = SimpleNamespace(
        granted=SimpleNamespace(pool=lambda balanced: [(start, end)]),
        rng=torch.Generator().manual_seed(0),
        device="cpu",
    )
    before = [p.clone() for p in (*start.parameters(), *end.parameters())]
    shares = []
    for _, (network, expert) in zip(range(5), blends(run), strict=False):
        share = (network.weight - end.weight) / (start.weight - end.weight)
        torch.testing.assert_close(share, share[0, 0].expand(2, 2), rtol=0, atol=1e-4)
        shares.append(share[0, 0].item())
        assert expert is end
    assert 0 <= min(shares) < max(shares) <= 1
    after = (*start.parameters(), *end.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_bytes_are_rounded_to_the_nearest():
    pixels = torch.tensor([0.0, 0.001, 0.002, 1.0])
    assert stored(pixels, torch.zeros(1, dtype=torch.uint8)).tolist() == [0, 0, 1, 255]


def test_learned_rows_begin_as_those_that_chance_keeps():
    rows = rows_of(COUNTS)
    still = replace(BUDGET, lr=1e-12)
    kept, made = (distilled(recipe(text), rows, still) for text in ("random", "sdd"))
    torch.testing.assert_close(made.inputs, kept.inputs, rtol=0, atol=1e-6)


def test_repeats_of_a_real_row_go_apart():
    rows = rows_of((8, 2))
    made = distilled(recipe("dm"), rows, replace(BUDGET, ipc=4))
    assert len(made.inputs.unique(dim=0)) == 8


@pytest.mark.parametrize("text", ["dm", "dm(pool=True)", "sdd"])
def test_the_distance_falls(text):
    seen = []
    method = recipe(text).methods[0]

    class Watched(type(method)):
        def distance(self, *given):
            found = super().distance(*given)
            seen.append(found.item())
            return found

    longer = replace(BUDGET, iterations=100, rows=32, lr=0.02)
    distilled(
        Recipe(Watched(**{"pool": True} if "pool" in text else {})),
        rows_of(COUNTS),
        longer,
    )
    assert sum(seen[-20:]) < 0.8 * sum(seen[:20])
