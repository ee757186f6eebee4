from types import SimpleNamespace

import pytest
import torch
from compressing import recovering

from ltbench import LTBenchError, recipe
from ltbench.contract.context import Output
from ltbench.testing.task import COUNTS, rows_of
from ltbench.tracks.compression.checks import begun, compressed
from ltbench.training.engine import train

TAUGHT = torch.tensor([[1.0, -2.0], [0.0, 2.0]], dtype=torch.float64)
RUN = SimpleNamespace(granted=SimpleNamespace(taught=lambda inputs: Output((TAUGHT,), TAUGHT)))


def mimic(features, text="mir"):
    return recipe(text).methods[0].mimic(Output((features,), features), None, RUN)


def test_the_loss_is_the_squared_gap_of_features_over_their_mean_square():
    features = torch.tensor([[2.0, -2.0], [0.0, -1.0]], dtype=torch.float64, requires_grad=True)
    loss = mimic(features)
    # gaps 1, 0, 0, -3 against squares 1, 4, 0, 4
    assert loss.item() == pytest.approx((1 + 9) / (1 + 4 + 4))
    (slope,) = torch.autograd.grad(loss, features)
    assert slope.tolist() == [[pytest.approx(2 / 9), 0], [0, pytest.approx(-6 / 9)]]


def test_features_of_another_width_are_refused_in_a_line():
    with pytest.raises(LTBenchError) as refusal:
        mimic(torch.zeros(2, 3, dtype=torch.float64))
    assert "the student's have 3 and the teacher's 2" in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_the_head_stays_the_teachers_and_labels_do_not_count():
    rows = rows_of(COUNTS)
    made = compressed(recipe("mir"), rows)
    assert torch.equal(made.model.head.weight, made.run.granted.teacher.head.weight)
    assert torch.equal(made.model.head.bias, made.run.granted.teacher.head.bias)
    mixed = type(rows)(rows.inputs, rows.labels.flip(0))
    assert torch.equal(
        compressed(recipe("mir"), mixed).model.trunk[0].weight, made.model.trunk[0].weight
    )


def test_the_features_come_closer():
    rows = rows_of(COUNTS)
    before, run = compressed(recipe("l1"), rows).model, begun(rows, epochs=40)
    after = train(recovering("mir"), rows, run, 16)
    aim = run.granted.teacher.features(rows.inputs)
    gaps = [(model.features(rows.inputs) - aim).square().mean() for model in (after, before)]
    assert gaps[0] < 0.5 * gaps[1]
