import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ltbench import Recipe, recipe
from ltbench.testing.task import rows_of
from ltbench.tracks.distillation.checks import COUNTS, distilled
from ltbench_plugins.distillation import csdm
from ltbench_plugins.distillation.ncfm import sample_net


def test_a_gap_counts_by_its_size(monkeypatch):
    # one frequency along the first axis; unit rows at angles of 0 and 90 degrees
    monkeypatch.setattr(
        csdm, "frequencies", lambda *given: torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    )
    real = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    made = torch.tensor([[[0.0, 3.0]]], dtype=torch.float64)
    run = SimpleNamespace(counts=torch.ones(1, dtype=torch.float64), rng=None)
    method = recipe("ncfm").methods[0]
    found = method.distance(real, torch.tensor([0]), made, run)
    # both have amplitude 1, and phases 1 and 0: sqrt(0 + (2 - 2 cos 1) / 2)
    assert found.item() == pytest.approx(math.sqrt(1 - math.cos(1)), abs=1e-9)


def test_it_is_sdd_by_root_and_with_calibration():
    rows = rows_of(COUNTS)
    ncfm, spelled = (
        distilled(recipe(text), rows) for text in ("ncfm", "sdd(root=True, calibration=True)")
    )
    assert torch.equal(ncfm.inputs, spelled.inputs)


@pytest.mark.parametrize(
    "text", ["ncfm(sampler=True)", "ncfm(calibration=False)", "ncfm(direction='tail-phase')"]
)
def test_each_part_can_be_switched(text):
    rows = rows_of(COUNTS)
    plain, other = (distilled(recipe(t), rows) for t in ("ncfm", text))
    assert torch.isfinite(other.inputs).all()
    assert not torch.equal(plain.inputs, other.inputs)


def test_the_sampler_climbs_by_what_steps_of_300_distances_class_by_class_add_up_to():
    method = recipe("ncfm(sampler=True)").methods[0]
    moved = []

    class Watched(type(method)):
        def refine(self, *given):
            parameters = list(self.network.parameters())
            before = [(p.detach().clone(), p.grad.clone()) for p in parameters]
            super().refine(*given)
            pairs = zip(parameters, before, strict=True)
            moved.append([(p.detach() - old, slope) for p, (old, slope) in pairs])

    distilled(Recipe(Watched(sampler=True)), rows_of(COUNTS))
    assert len(moved) == 3
    (first, second, _), up = moved, 1e-3 * 300 * len(COUNTS)
    for (step, slope), (later, slope_then) in zip(first, second, strict=True):
        torch.testing.assert_close(step, up * slope, rtol=1e-3, atol=1e-5)
        expected = up * (slope_then + 0.5 * slope)  # with half of the last one
        torch.testing.assert_close(later, expected, rtol=1e-3, atol=1e-5)


def test_the_sampler_is_normalised_leaky_and_ends_between_minus_one_and_one():
    torch.manual_seed(0)
    network = sample_net(3).double()
    noise = np.random.default_rng(0).normal(size=(5, 3))
    by_hand = noise
    for k, activation in enumerate((leaky, leaky, np.tanh)):
        linear, norm = network[3 * k], network[3 * k + 1]
        weight, bias = (p.detach().numpy() for p in (linear.weight, linear.bias))
        by_hand = by_hand @ weight.T + bias
        by_hand = (by_hand - by_hand.mean(0)) / np.sqrt(by_hand.var(0) + norm.eps)
        by_hand = activation(by_hand)  # the norm's scale and shift begin as one and nothing
    np.testing.assert_allclose(network(torch.tensor(noise)).detach(), by_hand, atol=1e-12)
    assert len(network) == 9


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


@pytest.mark.parametrize(("frequencies", "rows"), [(64, 4), (65, 5), (16, 2), (1, 2)])
def test_frequencies_are_a_sixteenth_as_many_and_two_at_least(monkeypatch, frequencies, rows):
    seen = []
    gaps = csdm.gaps
    monkeypatch.setattr(csdm, "gaps", lambda *given: seen.append(given[3].shape) or gaps(*given))
    distilled(recipe(f"ncfm(sampler=True, frequencies={frequencies})"), rows_of(COUNTS))
    assert set(seen) == {(rows, 16)}
