"""lwf, icarl, wa and incremental-bic: what they distil, and what they do once a task is over."""

import math

import pytest
import torch
from of_incremental import Told, float64, loss_of, run_of
from torch import nn

from ltbench import Output, Rows, recipe
from ltbench_plugins.incremental.bic import put_aside
from ltbench_plugins.incremental.icarl import herded
from ltbench_plugins.incremental.lwf import distillation

SCORES = [[1.0, -0.5, 0.3, 2.0], [0.2, 0.7, -1.0, 0.1], [0.0, 1.5, 0.4, -0.3]]
TAUGHT = [[2.0, 0.0], [0.5, 1.0], [-1.0, 1.0]]
LABELS = torch.tensor([3, 1, 2])


def softmax(values, temperature=1.0):
    powers = [math.exp(value / temperature) for value in values]
    return [power / sum(powers) for power in powers]


def distilled(temperature=2.0):
    """The distillation as it is written, row by row."""
    terms = [
        -sum(
            q * math.log(p)
            for q, p in zip(
                softmax(taught, temperature), softmax(scores[:2], temperature), strict=True
            )
        )
        for scores, taught in zip(SCORES, TAUGHT, strict=True)
    ]
    return sum(terms) / len(terms)


def crossed(first=0):
    """Cross-entropy over the classes from `first` on."""
    rows = zip(SCORES, LABELS.tolist(), strict=True)
    terms = [-math.log(softmax(row[first:])[y - first]) for row, y in rows if y >= first]
    return sum(terms) / len(terms)


def test_distillation_is_the_formula_and_its_slope_reaches_no_new_score():
    scores = float64(SCORES).requires_grad_()
    loss = distillation(scores, float64(TAUGHT), 2.0)
    assert loss.item() == pytest.approx(distilled(), abs=1e-12)
    loss.backward()
    assert (scores.grad[:, 2:] == 0).all()
    expected = [
        [(p - q) / 2 / 3 for p, q in zip(softmax(row[:2], 2.0), softmax(t, 2.0), strict=True)]
        for row, t in zip(SCORES, TAUGHT, strict=True)
    ]
    torch.testing.assert_close(scores.grad[:, :2], float64(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("icarl", lambda: crossed() + distilled()),
        ("icarl(strength=0.0)", crossed),
        ("wa", lambda: 0.5 * crossed() + 0.5 * distilled()),
    ],
)
def test_losses_are_the_sums_that_they_say(text, expected):
    method, run = run_of(text, taught=float64(TAUGHT))
    loss = loss_of(method, run, float64(SCORES), LABELS)
    assert loss.item() == pytest.approx(expected(), abs=1e-12)


def test_lwf_crosses_new_classes_alone():
    method, run = run_of("lwf", taught=float64(TAUGHT))
    rows = [0, 2]  # of new classes
    run.granted.past.run.model.given = float64(TAUGHT)[rows]
    loss = loss_of(method, run, float64(SCORES)[rows], LABELS[rows])
    expected = 3 * distillation(float64(SCORES)[rows], float64(TAUGHT)[rows], 2.0).item()
    assert loss.item() == pytest.approx(crossed(2) + expected, abs=1e-12)


def test_without_a_past_they_are_plain_training():
    for text in ("lwf", "icarl", "wa", "incremental-bic", "ewc", "finetune(scores='new')"):
        method, run = run_of(text)
        run.granted = type(run.granted)()
        scores = float64(SCORES)
        loss = loss_of(method, run, scores, LABELS)
        assert loss.item() == pytest.approx(crossed(), abs=1e-12), text


def test_herding_follows_the_mean():
    chance = torch.Generator().manual_seed(0)
    features = torch.nn.functional.normalize(torch.randn(9, 4, generator=chance).double())
    order = herded(features, 9).tolist()
    assert sorted(order) == list(range(9))
    mean, chosen = features.mean(0), []
    for k in range(1, 10):  # by trying all that are left
        left = [row for row in range(9) if row not in chosen]
        gaps = [(mean - features[[*chosen, row]].mean(0)).norm().item() for row in left]
        chosen.append(left[gaps.index(min(gaps))])
        assert order[:k] == chosen
        assert herded(features, k).tolist() == order[:k]
    torch.testing.assert_close(features[order].mean(0), mean)


def test_herding_takes_what_there_is():
    assert herded(torch.eye(3), 5).numel() == 3
    assert herded(torch.zeros(0, 3), 5).numel() == 0


def test_old_exemplars_are_the_first_of_those_kept_and_means_are_of_exemplars():
    method, run = run_of("icarl", classes=3, old=2)
    run.model = method.build(Told(width=2), run)
    at = [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9], [3.0, 3.0], [2.0, 0.0], [0.0, 2.0]]
    rows = Rows(float64(at), torch.tensor([0, 0, 1, 1, 2, 2, 2]))
    kept = method.methods[0].remember(rows, 3, run)
    assert kept.tolist() == [0, 2, 4]  # of the new class, the one that lies as its mean
    unit = [[1, 0], [0, 1], [math.sqrt(0.5), math.sqrt(0.5)]]
    torch.testing.assert_close(run.model.means, float64(unit))
    inputs = float64([[5.0, 0.1]])
    scores = method.combine(Output((inputs,), inputs), run)
    assert scores.argmax() == 0
    gap = torch.nn.functional.normalize(inputs) - float64(unit)
    torch.testing.assert_close(scores[0], -gap.square().sum(1))


def test_nothing_remembered_leaves_means_of_the_rows_of_a_task():
    method, run = run_of("icarl", classes=3, old=2)
    run.model = method.build(Told(width=2), run)
    run.model.means[:2] = float64([[1.0, 0.0], [0.0, 1.0]])
    rows = Rows(float64([[1.0, 1.0], [3.0, 3.0]]), torch.tensor([2, 2]))
    assert method.methods[0].remember(rows, 0, run).numel() == 0
    torch.testing.assert_close(run.model.means[:2], torch.eye(2).double())
    torch.testing.assert_close(run.model.means[2], float64([1.0, 1.0]) / math.sqrt(2))


def test_weights_of_new_classes_have_the_mean_length_of_old_ones():
    method, run = run_of("wa", classes=3, old=2)
    run.model = Told(width=2)
    run.model.head = nn.Linear(2, 3).double().requires_grad_(False)
    run.model.head.weight.copy_(float64([[3.0, 4.0], [1.0, 0.0], [0.0, 6.0]]))
    before = run.model.head.weight.clone()
    method.finish(run.model, None, run)
    torch.testing.assert_close(run.model.head.weight[2], float64([0.0, 3.0]))
    assert torch.equal(run.model.head.weight[:2], before[:2])
    again = run.model.head.weight.clone()
    method.finish(run.model, None, run)
    torch.testing.assert_close(run.model.head.weight, again)


def test_bias_correction_is_fitted_to_what_was_put_aside():
    method, run = run_of("incremental-bic", classes=3, old=2, taught=float64(TAUGHT))
    run.model = method.build(Told(width=3), run)
    run.model.head = nn.Identity()
    assert torch.equal(method.scores(float64([[1.0, 2.0, 3.0]]), run), float64([[1.0, 2.0, 3.0]]))
    method.methods[0].aside = Rows(
        float64([[1.0, 0.0, 2.0], [0.0, 1.0, 2.0], [0.0, 0.5, 2.0], [1.0, 0.2, 1.5]]),
        torch.tensor([0, 1, 2, 0]),
    )
    aside = method.methods[0].aside
    method.finish(run.model, None, run)
    corrected = method.scores(aside.inputs, run)
    assert torch.equal(corrected[:, :2], aside.inputs[:, :2])  # to the bit
    alpha, beta = run.model.bias_scale[2].item(), run.model.bias_shift[2].item()
    torch.testing.assert_close(corrected[:, 2], alpha * aside.inputs[:, 2] + beta)

    def loss(a, b):
        scores = aside.inputs.clone()
        scores[:, 2] = a * scores[:, 2] + b
        weight = float64([0.5, 1.0, 1.0, 0.5]) / 3
        losses = nn.functional.cross_entropy(scores, aside.labels, reduction="none")
        return (weight * losses).sum().item() + 0.1 * b**2 / 2

    least = loss(alpha, beta)
    assert least < loss(1.0, 0.0)
    near = ((1e-3, 0), (-1e-3, 0), (0, 1e-3), (0, -1e-3))
    assert all(least <= loss(alpha + a, beta + b) for a, b in near)


def test_without_rows_aside_scores_stay():
    method, run = run_of("incremental-bic", classes=3, old=2)
    run.model = method.build(Told(width=3), run)
    method.finish(run.model, None, run)
    assert run.model.bias_scale.tolist() == [1, 1, 1] and run.model.bias_shift.tolist() == [0, 0, 0]
    assert any("no row can be put aside" in note for note in run.notes)


def test_as_many_rows_of_each_class_are_put_aside_and_one_is_left():
    _, run = run_of("incremental-bic", classes=4, old=3)
    labels = torch.tensor([0] * 20 + [1] * 20 + [2] + [3] * 50)
    aside = put_aside(labels, 3, 0.2, run)
    assert labels[aside].bincount(minlength=4).tolist() == [3, 3, 0, 3]  # 0.2 of 41/3 rows
    few = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 3])
    assert few[put_aside(few, 3, 0.1, run)].bincount(minlength=4).tolist() == [1, 1, 1, 1]
    assert not put_aside(torch.tensor([0, 1, 2, 3, 3]), 3, 0.1, run).any()


def test_earlier_pairs_act_in_training_too():
    method, run = run_of("incremental-bic", taught=float64(TAUGHT))
    run.model = method.build(Told(width=3), run)
    run.model.bias_scale[1], run.model.bias_shift[1] = 0.5, -1.0
    loss = loss_of(method, run, float64(SCORES), LABELS)
    corrected = float64(SCORES)
    corrected[:, 1] = 0.5 * corrected[:, 1] - 1
    crossing = nn.functional.cross_entropy(corrected, LABELS)
    expected = 0.5 * crossing + 0.5 * distillation(corrected, float64(TAUGHT), 2.0)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-12)


def test_methods_of_recognition_join_them():
    for text in ("icarl+crt", "icarl(nearest_mean=False)+lws", "wa+balanced-softmax", "joint+ldam"):
        assert recipe(text)
