import math

import pytest
import torch
from msgspec.structs import replace
from torch import nn

from ltbench import recipe
from ltbench.testing.task import rows_of
from ltbench.tracks.distillation.checks import BUDGET, COUNTS, distilled
from ltbench_plugins.distillation import lad
from ltbench_plugins.distillation.lad import LAD, travelled


def float64(values):
    return torch.tensor(values, dtype=torch.float64)


def test_the_mismatch_is_relative_to_the_way_and_weighed_by_part():
    begin = {
        "trunk.weight": float64([0.0, 0.0]),
        "head.weight": float64([1.0]),
        "head.bias": float64([2.0]),
    }
    goal = {
        "trunk.weight": float64([3.0, 4.0]),
        "head.weight": float64([2.0]),
        "head.bias": float64([4.0]),
    }
    end = {
        "trunk.weight": float64([3.0, 3.0]),
        "head.weight": float64([2.0]),
        "head.bias": float64([3.0]),
    }
    found = LAD().mismatch(begin, end, goal)
    assert found.item() == pytest.approx(0.1 * 1 / 25 + 1.0 * 1 / 5, abs=1e-12)
    found = LAD(backbone=2.0, classifier=0.5).mismatch(begin, end, goal)
    assert found.item() == pytest.approx(2 * 1 / 25 + 0.5 * 1 / 5, abs=1e-12)


IMAGES = [[0.5, -1.0], [2.0, 0.3], [-0.4, 0.8]]
LABELS, WEIGHTS, RATE = [0, 1, 1], [1.5, 0.5, 0.5], 0.3
MATRIX = [[0.2, -0.1], [0.4, 0.3]]


def step_by_hand(matrix):
    """One step on the weighed cross-entropy of a linear network without a bias."""
    slope = [[0.0, 0.0], [0.0, 0.0]]
    for x, y, weight in zip(IMAGES, LABELS, WEIGHTS, strict=True):
        scores = [sum(a * b for a, b in zip(row, x, strict=True)) for row in matrix]
        total = sum(map(math.exp, scores))
        for c in (0, 1):
            off = math.exp(scores[c]) / total - (c == y)
            for d in (0, 1):
                slope[c][d] += weight * off * x[d] / len(IMAGES)
    return [
        [m - RATE * s for m, s in zip(*rows, strict=True)]
        for rows in zip(matrix, slope, strict=True)
    ]


def walked(images, steps):
    network = nn.Linear(2, 2, bias=False, dtype=torch.float64)
    args = torch.tensor(LABELS), float64(WEIGHTS), float64(RATE)
    return travelled(network, {"weight": float64(MATRIX)}, [images] * steps, *args)["weight"]


def test_a_student_takes_steps_of_gradient_descent_on_the_weighed_loss():
    by_hand = MATRIX
    for steps in (1, 2, 3):
        by_hand = step_by_hand(by_hand)
        torch.testing.assert_close(walked(float64(IMAGES), steps).detach(), float64(by_hand))


def test_the_gradient_of_the_images_goes_through_every_step():
    images = float64(IMAGES).requires_grad_()
    goal = {"weight": float64([[1.0, 0.5], [-1.0, 0.2]]), "head.bias": float64([1.0])}
    begin = {"weight": float64(MATRIX), "head.bias": float64([0.0])}

    def mismatch(images):
        end = {"weight": walked(images, 3), "head.bias": float64([0.5])}
        return LAD().mismatch(begin, end, goal)

    assert torch.autograd.gradcheck(mismatch, (images,), eps=1e-6, atol=1e-9)
    assert images.grad is None
    mismatch(images).backward()
    assert (images.grad != 0).all()


def test_the_mismatch_falls_and_classes_weigh_like_their_counts(monkeypatch):
    seen, weights = [], []

    def told(*given):
        weights.append(given[4])
        return travelled(*given)

    class Told(LAD):
        def mismatch(self, *given):
            found = super().mismatch(*given)
            seen.append(found.item())
            return found

    monkeypatch.setattr(lad, "travelled", told)
    method = recipe("lad")
    method.methods[0].__class__ = Told
    rows = rows_of(COUNTS)
    made = distilled(method, rows, replace(BUDGET, iterations=60, epochs=4))
    assert sum(seen[-15:]) < 0.8 * sum(seen[:15])
    expected = torch.tensor(COUNTS) / torch.tensor(COUNTS).float().mean()
    torch.testing.assert_close(weights[0], expected[made.labels])


def test_a_path_goes_from_a_start_epoch_by_epoch(monkeypatch):
    lengths = []
    joined = lad.joined
    monkeypatch.setattr(lad, "joined", lambda *given: lengths.append(joined(*given)) or lengths[-1])
    distilled(recipe("lad"), rows_of(COUNTS), replace(BUDGET, epochs=3, networks=2))
    assert [len(path) for path in lengths] == [4, 4]  # the start and three epochs, of two networks
    first, last = lengths[0][0], lengths[0][-1]
    assert all((first[name] != last[name]).any() for name in first)
