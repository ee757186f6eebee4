"""Whose head stays the teacher's: that of what the codes of CMa-FSMC and PRACTISE train."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from compressing import recovering
from torch import nn

from ltbench import Batch, LTBenchError, recipe
from ltbench.contract.context import Phase
from ltbench.testing.task import COUNTS, rows_of
from ltbench.tracks.compression.checks import begun, compressed
from ltbench.training.engine import LossClosure

KEPT = ["bp", "kd", "mir", "practise(steps=2)", "teacher-class", "kd(alpha=1.0)", "kd+sam"]
LEARNING = ["bp(head='learns')", "kd(head='learns')", "cd", "class-dependent-pruning"]


def moved(text):
    """How far the head and the body of a network went from the teacher's in training."""
    made = compressed(recipe(text), rows_of(COUNTS))
    taught, own = made.run.granted.teacher.head, made.model.head
    pairs = zip(own.parameters(), taught.parameters(), strict=True)
    return sum((a - b).abs().sum().item() for a, b in pairs)


@pytest.mark.parametrize("text", KEPT)
def test_the_head_stays_the_teachers(text):
    assert moved(text) == 0


@pytest.mark.parametrize("text", LEARNING)
def test_the_head_learns(text):
    assert moved(text) > 0.001


X, LABELS, RATE, DECAY = np.array([[0.5, -1.0], [2.0, 0.3], [-0.4, 0.8]]), [0, 1, 1], 0.3, 0.01
TRUNK, HEAD = np.array([[0.2, -0.1], [0.4, 0.3]]), np.array([[0.5, 0.1], [-0.2, 0.6]])


class Linear(nn.Module):
    """Two matrices, one after the other."""

    def __init__(self):
        super().__init__()
        self.trunk, self.head = (nn.Linear(2, 2, bias=False, dtype=torch.float64) for _ in "12")
        with torch.no_grad():
            self.trunk.weight.copy_(torch.tensor(TRUNK))
            self.head.weight.copy_(torch.tensor(HEAD))

    def features(self, x):
        return self.trunk(x)


def stepped(text, head=None):
    """A network after one step on the rows, with decay; `head` takes the place of the teacher's."""
    method, run = recovering(text), begun(rows_of(COUNTS))
    run.granted = replace(run.granted, teacher=Linear().eval().requires_grad_(False))
    run.counts = run.counts.double()
    run.phase = Phase("main", 1, RATE, DECAY, momentum=0.0)
    run.recipe, run.model = method, copy.deepcopy(run.granted.teacher).requires_grad_(True)
    run.model.head = head or run.model.head
    closure = LossClosure(method, method.optimizer(run.model, run), run)
    method.prepare(run)
    batch = Batch(torch.tensor(X), [(torch.tensor(LABELS), 1.0)], torch.arange(3))
    closure.take(batch, torch.zeros((), dtype=torch.float64))
    method.step(closure, closure.optimizer, run)
    return run.model


def slopes_by_hand():
    """Those of the mean cross-entropy by both matrices."""
    hidden = X @ TRUNK.T
    powers = np.exp(hidden @ HEAD.T)
    off = (powers / powers.sum(axis=1, keepdims=True) - np.eye(2)[LABELS]) / 3
    return (off @ HEAD).T @ X, off.T @ hidden


@pytest.mark.parametrize(("text", "learns"), [("bp", 0), ("bp(head='learns')", 1)])
def test_a_step_moves_and_shrinks_what_learns_alone(text, learns):
    of_trunk, of_head = slopes_by_hand()
    model = stepped(text)
    trunk = TRUNK - RATE * (of_trunk + DECAY * TRUNK)
    head = HEAD - learns * RATE * (of_head + DECAY * HEAD)
    np.testing.assert_allclose(model.trunk.weight.detach(), trunk, rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.head.weight.detach(), head, rtol=0, atol=1e-12)


def test_a_head_that_another_method_put_in_its_place_learns():
    other = nn.Linear(2, 2, bias=False, dtype=torch.float64)
    before = other.weight.detach().clone()
    assert not torch.equal(stepped("bp", other).head.weight, before)


def test_other_optimizers_leave_the_head_alone_too():
    for text in ("bp+muon", "mir+muon"):
        assert moved(text) == 0


def test_a_head_is_kept_or_learns():
    with pytest.raises(LTBenchError, match="head='frozen' is refused: invalid enum value"):
        recipe("kd(head='frozen')")
