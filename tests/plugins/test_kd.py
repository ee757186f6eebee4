import math
from types import SimpleNamespace

import pytest
import torch

from ltbench import LTBenchError, recipe
from ltbench.contract.context import Output
from ltbench.testing.task import COUNTS, rows_of
from ltbench.tracks.compression.checks import compressed

STUDENT = [[1.0, 0.0, -1.0], [0.5, 0.5, 2.0]]
TEACHER = [[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]]


def softmax(scores, t):
    powers = [math.exp(score / t) for score in scores]
    return [power / sum(powers) for power in powers]


def divergences(t):
    """The divergence of each row's softened scores from the teacher's, in plain numbers."""
    gaps = []
    for student, teacher in zip(STUDENT, TEACHER, strict=True):
        p, q = softmax(teacher, t), softmax(student, t)
        gaps.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
    return gaps


def mimic(text, student):
    made = recipe(text)
    taught = torch.tensor(TEACHER, dtype=torch.float64)
    run = SimpleNamespace(
        recipe=made,
        counts=torch.tensor([8.0, 2.0, 4.0], dtype=torch.float64),
        granted=SimpleNamespace(taught=lambda inputs: Output((taught,), taught)),
    )
    return made.methods[0].mimic(Output((student,), student), None, run)


@pytest.mark.parametrize(
    ("text", "alpha", "t"), [("kd", 0.1, 4), ("kd(alpha=0.0, temperature=2.0)", 0, 2)]
)
def test_the_loss_is_the_softened_divergence_from_the_teacher(text, alpha, t):
    student = torch.tensor(STUDENT, dtype=torch.float64, requires_grad=True)
    loss = mimic(text, student)
    expected = (1 - alpha) * t**2 * sum(divergences(t)) / 2
    assert loss.item() == pytest.approx(expected, abs=1e-12)
    (slope,) = torch.autograd.grad(loss, student)
    for n in range(2):
        p, q = softmax(TEACHER[n], t), softmax(STUDENT[n], t)
        for k in range(3):
            assert slope[n, k].item() == pytest.approx((1 - alpha) * t * (q[k] - p[k]) / 2)


def test_rows_of_rarer_classes_in_the_teachers_eyes_count_more():
    # the teacher sees classes 0 and 1, of 8 and 2 rows: shares 1/8 and 1/2 of a mean 5/16
    first, second = divergences(4)
    expected = 0.9 * 16 * (first * 0.4 + second * 1.6) / 2
    found = mimic("kd(reweighted=True)", torch.tensor(STUDENT, dtype=torch.float64))
    assert found.item() == pytest.approx(expected)


def test_labels_count_a_tenth():
    scores, labels = torch.tensor(STUDENT, dtype=torch.float64), torch.tensor([0, 1])
    losses = recipe("kd").criterion(
        scores, labels, SimpleNamespace(phase=SimpleNamespace(role="main"))
    )
    expected = [-0.1 * math.log(softmax(STUDENT[n], 1)[n]) for n in range(2)]
    assert losses.tolist() == pytest.approx(expected)


def test_nothing_is_left_to_learn_from_an_equal_teacher():
    equal = torch.tensor(TEACHER, dtype=torch.float64)
    assert mimic("kd", equal).item() == pytest.approx(0, abs=1e-12)


def test_with_the_labels_alone_it_is_bp_to_the_bit():
    rows = rows_of(COUNTS)
    assert torch.equal(
        compressed(recipe("kd(alpha=1.0)"), rows).scores, compressed(recipe("bp"), rows).scores
    )


@pytest.mark.parametrize("text", ["kd(alpha=1.5)", "kd(temperature=0.0)"])
def test_wrong_parameters_are_refused(text):
    with pytest.raises(LTBenchError, match="is refused: expected float"):
        recipe(text)
