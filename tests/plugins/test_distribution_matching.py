from functools import partial
from types import SimpleNamespace

import pytest
import torch
from msgspec.structs import replace

from ltbench import Recipe, recipe
from ltbench.augmentation.views import Views
from ltbench.contract.context import Run
from ltbench.models.mlp import Network
from ltbench.testing.task import rows_of
from ltbench.tracks.distillation import checks
from ltbench.tracks.distillation.checks import BUDGET, COUNTS, distilled
from ltbench_plugins.distillation.distribution_matching import batches, blends, stored


def test_the_distance_is_between_mean_features_summed_over_classes():
    real = torch.tensor([[1.0, 0.0], [3.0, 2.0], [5.0, 5.0]], dtype=torch.float64)
    made = torch.tensor([[[0.0, 0.0], [1.0, 1.0]], [[5.0, 4.0], [5.0, 6.0]]], dtype=torch.float64)
    run = SimpleNamespace(num_classes=2)
    found = recipe("dm").methods[0].distance(real, torch.tensor([0, 0, 1]), made, run)
    # (2, 1) against (0.5, 0.5), and (5, 5) against (5, 5)
    assert found.item() == pytest.approx(1.5**2 + 0.5**2)


STD, MEAN = (0.2, 0.5), (0.4, 0.1)
PIXELS = [[[[0.1, 0.9]], [[0.6, 0.2]]], [[[0.5, 0.3]], [[0.0, 1.0]]]]  # two images of two channels


def slope_by_hand(z):
    """That of the sum of z^4 / 4 + k z, k the place of the pixel, on standardised images."""
    return [value**3 + k for k, value in enumerate(z)]


@pytest.mark.parametrize("stated", [True, False])
def test_steps_are_those_of_sgd_with_half_of_the_last_one_on_standardised_images(stated):
    source = torch.tensor(PIXELS, dtype=torch.float64)
    if stated:
        std = STD
    else:  # the deviation of each channel of the real rows, as numpy's without a correction
        channels = [[0.1, 0.9, 0.5, 0.3], [0.6, 0.2, 0.0, 1.0]]
        std = [
            (sum((x - sum(of) / 4) ** 2 for x in of) / 4) ** 0.5  # of four pixels
            for of in channels
        ]
    run = SimpleNamespace(views=Views(mean=MEAN, std=STD) if stated else Views())
    pixels = source.clone().requires_grad_()
    optimizer = recipe("dm(lr=0.3)").methods[0].optimizer_of(pixels, source, run)
    scale = torch.tensor(std, dtype=torch.float64).reshape(1, 2, 1, 1)
    centre = torch.tensor(MEAN, dtype=torch.float64).reshape(1, 2, 1, 1)
    z = ((source - centre) / scale).flatten().tolist()
    momentum = [0.0] * 8
    for _ in range(3):
        momentum = [0.5 * m + g for m, g in zip(momentum, slope_by_hand(z), strict=True)]
        z = [value - 0.3 * m for value, m in zip(z, momentum, strict=True)]
        optimizer.zero_grad()
        standardised = ((pixels - centre) / scale).flatten()
        (standardised**4 / 4 + torch.arange(8) * standardised).sum().backward()
        optimizer.step()
    moved = torch.tensor(z, dtype=torch.float64).reshape(2, 2, 1, 2) * scale + centre
    torch.testing.assert_close(pixels.detach(), moved, rtol=0, atol=1e-12)


def test_the_rate_is_one_unless_told_as_in_released_code():
    assert recipe("dm").methods[0].lr == 1.0


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


@pytest.mark.parametrize("text", ["dm", "sdd", "lad(steps=1)"])
def test_networks_see_standardised_images_and_stored_ones_are_as_the_rows(monkeypatch, text):
    """With a mean of 30 and a deviation of 2 what is seen lies far from what is stored."""
    seen, views = [], Views(mean=(30.0,), std=(2.0,), strategy=("flip",))
    monkeypatch.setattr(checks, "Run", partial(Run, views=views))
    forward = Network.features
    monkeypatch.setattr(Network, "features", lambda self, x: seen.append(x) or forward(self, x))
    rows = rows_of(COUNTS)
    made = distilled(recipe(text), rows, replace(BUDGET, iterations=1))
    assert all(-19 < x.mean() < -11 for x in seen)  # about -30 / 2
    assert rows.inputs.min() <= made.inputs.min() and made.inputs.max() <= rows.inputs.max()


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
