import math
from types import SimpleNamespace

import pytest
import torch

from ltbench import recipe
from ltbench.testing.distilled import COUNTS, distilled
from ltbench.testing.task import rows_of
from ltbench_plugins import csdm


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


def test_the_sampler_learns_to_make_the_gap_large():
    method = recipe("ncfm(sampler=True)").methods[0]
    rows, networks = rows_of(COUNTS), []

    class Watched(type(method)):
        def refine(self, *given):
            networks.append([p.detach().clone() for p in self.network.parameters()])
            self.slope = [p.grad.clone() for p in self.network.parameters()]
            super().refine(*given)
            for before, slope, now in zip(
                networks[-1], self.slope, self.network.parameters(), strict=True
            ):
                assert ((now - before) * slope).sum() >= 0

    distilled(recipe("random").__class__(Watched(sampler=True)), rows)
    assert len(networks) == 3


def test_frequencies_are_a_sixteenth_as_many(monkeypatch):
    seen = []
    gaps = csdm.gaps
    monkeypatch.setattr(csdm, "gaps", lambda *given: seen.append(given[3].shape) or gaps(*given))
    distilled(recipe("ncfm(sampler=True, frequencies=64)"), rows_of(COUNTS))
    assert set(seen) == {(4, 16)}
