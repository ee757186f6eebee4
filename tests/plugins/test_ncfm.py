import math
from types import SimpleNamespace

import pytest
import torch

from ltbench import Recipe, recipe
from ltbench.testing.task import rows_of
from ltbench.tracks.distillation.checks import COUNTS, distilled
from ltbench_plugins.distillation import csdm


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
    uphill = []

    class Watched(type(method)):
        def refine(self, *given):
            parameters = list(self.network.parameters())
            before = [(p.detach().clone(), p.grad.clone()) for p in parameters]
            super().refine(*given)
            pairs = zip(parameters, before, strict=True)
            uphill.append(sum(((p - old) * slope).sum().item() for p, (old, slope) in pairs))

    distilled(Recipe(Watched(sampler=True)), rows_of(COUNTS))
    assert len(uphill) == 3
    assert uphill[0] > 0  # later steps have momentum


def test_frequencies_are_a_sixteenth_as_many(monkeypatch):
    seen = []
    gaps = csdm.gaps
    monkeypatch.setattr(csdm, "gaps", lambda *given: seen.append(given[3].shape) or gaps(*given))
    distilled(recipe("ncfm(sampler=True, frequencies=64)"), rows_of(COUNTS))
    assert set(seen) == {(4, 16)}
