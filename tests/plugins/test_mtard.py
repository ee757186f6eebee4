"""MTARD: its losses and their weight by number, and teachers that stay as they are."""

import copy

import pytest
import torch
from msgspec import structs
from oracles import oracle
from torch import nn

from ltbench import LTBenchError, Recipe, Unmet, protocol, recipe
from ltbench.contract.context import Batch, Output, Phase, Run
from ltbench.datasets import built_in
from ltbench.tracks.recognition.track import run as recognise
from ltbench.tracks.robust.contract import RobustGrants, Threat
from ltbench.tracks.robust.teachers import Teachers
from ltbench.tracks.robust.track import begin, run, split
from ltbench_plugins.robust.mtard import MTARD, distance, moved_weight

CPU = torch.device("cpu")
DIGITS = built_in()["digits"]()


def small():
    given = protocol("digits-robust")
    return structs.replace(given, budget=structs.replace(given.budget, epochs=1))


def test_distances_are_those_of_its_code():
    official = oracle("mtard_loss_balance")
    given, expected = official["inputs"], official["expected"]
    for name in ("adv", "nat"):
        taught, said = (
            torch.tensor(given[f"{who}_{name}"], dtype=torch.float64)
            for who in ("teacher", "student")
        )
        of_classes = distance(taught, said) / taught.shape[1]  # which the code takes the mean over
        assert of_classes.item() == pytest.approx(expected[f"kl_{name}"], abs=1e-7)
    slope = torch.autograd.gradcheck(lambda z: distance(taught, z), said.requires_grad_())
    assert slope


def test_weights_are_those_of_its_code():
    official = oracle("mtard_loss_balance")
    losses = torch.tensor(official["inputs"]["loss_sequence"], dtype=torch.float64)
    w = torch.tensor(0.5, dtype=torch.float64)
    for now, told in zip(losses, official["expected"]["weights"], strict=True):
        w = moved_weight(w, now / losses[0], official["params"]["weight_learn_rate"])
        assert w.item() == pytest.approx(told["adv_loss"], abs=1e-8)
        assert (1 - w).item() == pytest.approx(told["nat_loss"], abs=1e-8)
    at_rest = moved_weight(torch.tensor(0.75), torch.tensor([3.0, 1.0]), 0.3)
    assert at_rest.item() == pytest.approx(0.75)


class Told(RobustGrants):
    """Teachers that are told, and an attack that moves rows by one."""

    def __init__(self, *pair):
        super().__init__(threat=Threat(0.1, 0.1, 1), teachers=lambda run, balanced: pair)

    def attack(self, inputs, labels, run, objective=None, start="uniform"):
        return inputs + 1

    def scores(self, inputs, run, model=None):
        return model(inputs)


@pytest.mark.parametrize(("progress", "rate"), [(0.0, 0.5), (0.6, 0.05), (0.9, 0.005)])
def test_a_step_by_hand(progress, rate):
    """The robust teacher sees x', the natural one x; the weight's rate falls with milestones."""
    torch.manual_seed(0)
    natural, robust, student = (nn.Linear(2, 3) for _ in range(3))
    counts = torch.tensor([5.0, 3.0, 2.0])
    phase = Phase("main", 1, 0.1, 0.0, milestones=(0.5, 0.9), factors=(0.1, 0.01))
    now = Run(counts, counts / 10, torch.tensor(progress), phase, model=student)
    now.granted = Told(natural, robust)
    method, x = MTARD(rate=0.5), torch.rand(4, 2)
    method.build(student, now)
    labels = torch.tensor([0, 1, 2, 0])
    batch = method.batch(Batch(x, [(labels, 1.0)], torch.arange(4)), now)
    assert torch.equal(batch.inputs, torch.cat([x + 1, x]))
    scores = student(batch.inputs)
    student.mtard_first.copy_(torch.tensor([2.0, 1.0]))
    loss = method.extra(Output((scores,), scores), batch, now)
    parts = distance(robust(x + 1), scores[:4]), distance(natural(x), scores[4:])
    relative = parts[0] / 2, parts[1]
    w = 0.5 + rate * (relative[0] / (relative[0] + relative[1]) - 0.5)
    torch.testing.assert_close(loss, w * parts[0] + (1 - w) * parts[1])
    again = method.extra(Output((scores,), scores), batch, now)  # the weight moved once
    torch.testing.assert_close(again, loss)
    assert (method.criterion(scores[:4], labels, now) == 0).all()


def test_teachers_are_trained_on_the_rows_of_the_cell_and_counted():
    given = small()
    parts = split(given, DIGITS, 0)
    now = begin(given, parts, 0, CPU)
    assert isinstance(now.granted.teachers, Teachers) and now.passes == 0
    natural, robust = now.granted.teachers(now, balanced=True)
    rows, steps = len(parts.train), given.threat.steps
    assert now.passes == rows * (2 + steps)
    assert now.granted.teachers(now, balanced=True)[0] is natural and now.passes == rows * (
        2 + steps
    )
    assert not natural.training and not any(p.requires_grad for p in robust.parameters())
    weights = [model.head.weight for model in (natural, robust, now.model)]
    assert not any(torch.equal(a, b) for a in weights for b in weights if a is not b)
    anew = begin(given, parts, 0, CPU)
    same = anew.granted.teachers(anew, balanced=True)
    assert torch.equal(same[1].head.weight, robust.head.weight)
    plain = anew.granted.teachers(anew)
    assert not torch.equal(plain[0].head.weight, natural.head.weight)


class Teaching(MTARD):
    """Changes a teacher."""

    name = "teaching"

    def finish(self, model, validation, run):
        run.granted.teachers(run, self.balanced)[0].head.weight.data += 1
        return model


class Copying(Teaching):
    """Changes a copy of one."""

    def finish(self, model, validation, run):
        copy.deepcopy(run.granted.teachers(run, self.balanced)[0]).head.weight.data += 1
        return model


def test_a_method_that_changes_a_teacher_is_refused():
    with pytest.raises(LTBenchError, match=r"teaching changed a teacher.*work on a copy"):
        run(small(), Recipe(Teaching()), 0, DIGITS, CPU)
    assert run(small(), Recipe(Copying()), 0, DIGITS, CPU).timing.passes == 14.0


def test_it_is_refused_where_there_are_no_teachers():
    with pytest.raises(Unmet, match="supplies no attack; mtard needs that"):
        recognise(protocol("digits-lt"), recipe("mtard"), 0, DIGITS, CPU)
