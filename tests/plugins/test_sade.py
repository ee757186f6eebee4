import copy
import math
from types import SimpleNamespace

import pytest
import torch
from by_hand import COUNTS, LABELS, PRIOR, cross_entropy, slope, softmax

from ltbench import Batch, Rows, recipe
from ltbench.contract.context import Output
from ltbench.testing.probes import probe_run
from ltbench.testing.task import SHAPE, trained
from ltbench.training.engine import objective, predict
from ltbench_plugins.contrast import sade as sade_file
from ltbench_plugins.contrast.sade import Weighted, aggregation, likeness, reversed_ranks

EXPERTS = [
    [[2.0, 1.0, 0.5], [0.3, -0.2, 0.4], [-1.0, 0.7, 0.1]],
    [[1.0, -0.5, 0.2], [0.1, 0.9, -0.3], [0.4, 1.1, -0.6]],
    [[0.5, 0.3, -1.2], [-0.7, 0.2, 0.8], [0.0, -0.4, 1.3]],
]
TRAINING = (500, 180, 60, 20, 10)
FORWARD_50 = (1000, 376, 141, 53, 20)


def shifts(tau):
    """What each expert's scores are raised by while training."""
    forward = [math.log(p) for p in PRIOR]
    return [
        [0.0] * 3,
        forward,
        [a - tau * b for a, b in zip(forward, reversed(forward), strict=True)],
    ]


@pytest.mark.parametrize("tau", [2.0, 0.5])
def test_the_experts_losses_add_up_each_with_its_own_prior(tau):
    sade = recipe(f"sade(tau={tau})")
    run = probe_run(sade, COUNTS, torch.float64)
    heads = torch.tensor(EXPERTS, dtype=torch.float64, requires_grad=True)
    batch = Batch(torch.zeros(3, 1), [(torch.tensor(LABELS), 1.0)], torch.arange(3))
    loss = objective(sade, Output(tuple(heads), batch.inputs), batch, run)
    moved = [
        [[z + s for z, s in zip(row, shift, strict=True)] for row in rows]
        for rows, shift in zip(EXPERTS, shifts(tau), strict=True)
    ]
    expected = sum(
        cross_entropy(row, y) for rows in moved for row, y in zip(rows, LABELS, strict=True)
    )
    assert math.isclose(loss.item(), expected / 3, rel_tol=1e-9)
    loss.backward()
    slopes = [
        [[g / 3 for g in slope(row, y)] for row, y in zip(rows, LABELS, strict=True)]
        for rows in moved
    ]
    torch.testing.assert_close(heads.grad, torch.tensor(slopes, dtype=torch.float64))


def test_the_inverse_prior_hands_out_shares_in_reverse_rank():
    prior = torch.tensor([0.1, 0.6, 0.05, 0.25])
    assert reversed_ranks(prior).tolist() == pytest.approx([0.25, 0.05, 0.6, 0.1])


def test_classes_of_one_size_get_the_same_inverse_share():
    prior = torch.tensor([0.1, 0.5, 0.1, 0.3], dtype=torch.float64)
    assert reversed_ranks(prior).tolist() == pytest.approx([0.4, 0.1, 0.4, 0.1])


def test_a_certain_expert_and_one_row_give_a_finite_slope():
    sade = recipe("sade")
    run = probe_run(sade, COUNTS, torch.float64)
    heads = 1e4 * torch.tensor(EXPERTS, dtype=torch.float64)[:, :1]
    heads.requires_grad_()
    batch = Batch(torch.zeros(1, 1), [(torch.tensor([2]), 1.0)], torch.arange(1))
    objective(sade, Output(tuple(heads), batch.inputs), batch, run).backward()
    assert torch.isfinite(heads.grad).all()


def test_likeness_is_the_mean_cosine_of_weighted_probabilities():
    one = torch.tensor(EXPERTS, dtype=torch.float64)
    two = one.flip(0) / 2
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    expected = 0.0
    for n in range(3):
        p, q = (
            softmax([sum(float(weights[e] * view[e, n, c]) for e in range(3)) for c in range(3)])
            for view in (one, two)
        )
        dot = sum(a * b for a, b in zip(p, q, strict=True))
        expected += dot / math.hypot(*p) / math.hypot(*q) / 3
    assert math.isclose(likeness(one, two, weights).item(), expected, rel_tol=1e-9)


OTHER_VIEW = [
    [[1.5, 1.2, 0.4], [0.1, -0.5, 0.6], [-0.8, 0.9, -0.2]],
    [[0.2, -0.1, 0.9], [0.6, 0.2, -0.7], [0.1, 0.4, 0.3]],
    [[-0.9, 0.8, 0.2], [0.5, -0.6, 0.1], [1.1, -0.3, -0.4]],
]


def likeness_by_hand(free):
    """That of EXPERTS and OTHER_VIEW under the softmax of free weights."""
    weights, total = softmax(free), 0.0
    for n in range(3):
        p, q = (
            softmax([sum(w * view[e][n][c] for e, w in enumerate(weights)) for c in range(3)])
            for view in (EXPERTS, OTHER_VIEW)
        )
        dot = sum(a * b for a, b in zip(p, q, strict=True))
        total += dot / math.hypot(*p) / math.hypot(*q) / 3
    return total


def slopes_of_likeness(free):
    """By differences."""
    found = []
    for k in range(3):
        up, down = ([f + sign * 1e-4 * (j == k) for j, f in enumerate(free)] for sign in (1, -1))
        found.append((likeness_by_hand(up) - likeness_by_hand(down)) / 2e-4)
    return found


def weights_after(monkeypatch, epochs, one=EXPERTS, two=OTHER_VIEW, lr=0.1):
    """What `aggregation` finds where the views of all inputs are these, passed at once."""
    turns = [one, one] + [one, two] * epochs  # the first call asks for a type and a device
    views = iter(turns[1:])
    monkeypatch.setattr(sade_file, "view_of", lambda inputs, run, noise: next(views))
    model = SimpleNamespace(head=lambda x: tuple(torch.tensor(x, dtype=torch.float64)))
    run = SimpleNamespace(
        rng=torch.Generator(), through=lambda model, x: x, phase=SimpleNamespace(weight_decay=9.0)
    )
    return aggregation(model, torch.zeros(3, 1), run, 0.0, epochs=epochs, lr=lr).tolist()


@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_weights_climb_by_nesterovs_momentum_and_a_decay_of_their_own(monkeypatch, epochs):
    """As released code is set: rate 0.1, momentum 0.9, decay 5e-4, whatever the protocol's."""
    free, momentum = [1 / 3] * 3, [0.0] * 3
    for _ in range(epochs):
        slopes = slopes_of_likeness(free)
        slopes = [-s + 5e-4 * f for s, f in zip(slopes, free, strict=True)]
        momentum = [0.9 * m + s for m, s in zip(momentum, slopes, strict=True)]
        ahead = [s + 0.9 * m for s, m in zip(slopes, momentum, strict=True)]
        free = [f - 0.1 * a for f, a in zip(free, ahead, strict=True)]
    found = weights_after(monkeypatch, epochs)
    assert found == pytest.approx(softmax(free), abs=1e-8)
    assert max(found) > 1 / 3 + 1e-3


def test_adapting_stops_once_a_weight_is_below_a_twentieth_in_hundredths(monkeypatch):
    passes = []
    likened = sade_file.likeness
    monkeypatch.setattr(
        sade_file, "likeness", lambda *given: passes.append(given[2].tolist()) or likened(*given)
    )
    last = weights_after(monkeypatch, 5, lr=12.35)
    assert len(passes) == 2
    assert 0.045 < min(passes[1]) < 0.05  # which rounds to a twentieth
    assert min(last) < 0.045


def test_weighted_heads_have_the_weighted_sum_as_their_mean():
    one = torch.tensor(EXPERTS, dtype=torch.float64)
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    heads = Weighted(lambda features: tuple(features), weights)
    expected = 0.5 * one[0] + 0.3 * one[1] + 0.2 * one[2]
    torch.testing.assert_close(torch.stack(heads(one)).mean(0), expected)


def clouds(counts, seed):
    """Classes that overlap, so that the prior matters."""
    centres = torch.randn(len(counts), *SHAPE, generator=torch.Generator().manual_seed(99))
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    noise = torch.randn(len(labels), *SHAPE, generator=torch.Generator().manual_seed(seed))
    return Rows(0.12 * centres[labels] + 0.5 * noise, labels)


@pytest.fixture(scope="module")
def experts():
    return trained(recipe("sade"), TRAINING, rows=clouds(TRAINING, 0))


def adapted(experts, inputs):
    experts.run.rng.manual_seed(0)
    return recipe("sade").adapt(copy.deepcopy(experts.model), inputs, experts.run)


def weights_on(experts, counts):
    return (adapted(experts, clouds(counts, 100).inputs).head.factors / 3).tolist()


def accuracies(model, rows):
    return [
        (scores.argmax(1) == rows.labels).float().mean().item() for scores in model(rows.inputs)
    ]


def test_the_first_expert_is_best_where_the_test_split_is_like_training(experts):
    first, _, third = accuracies(experts.model, clouds(FORWARD_50, 100))
    assert first > third + 0.2


def test_the_third_expert_is_best_where_the_test_split_is_reversed(experts):
    first, second, third = accuracies(experts.model, clouds(FORWARD_50[::-1], 100))
    assert third > max(first, second) + 0.2


def test_the_weights_move_to_the_first_expert_on_forward_inputs(experts):
    first, second, third = weights_on(experts, FORWARD_50)
    assert first > 0.45 > max(second, third)


def test_the_weights_move_to_the_third_expert_on_backward_inputs(experts):
    first, second, third = weights_on(experts, FORWARD_50[::-1])
    assert third > 0.45 > max(first, second)


def test_weights_raise_the_accuracy_on_a_reversed_test_split(experts):
    test = clouds(FORWARD_50[::-1], 100)
    sade = recipe("sade")
    _, before = predict(sade, experts.model, test.inputs, experts.run)
    _, after = predict(sade, adapted(experts, test.inputs), test.inputs, experts.run)
    right = [(labels == test.labels).float().mean() for labels in (before, after)]
    assert right[1] > right[0] + 0.05


def test_without_a_second_view_the_weights_stay_uniform_and_scores_the_plain_mean(experts):
    same = recipe("sade(noise=0.0)")
    test = clouds(FORWARD_50, 100)
    model = same.adapt(copy.deepcopy(experts.model), test.inputs, experts.run)
    expected, _ = predict(same, experts.model, test.inputs, experts.run)
    scores, _ = predict(same, model, test.inputs, experts.run)
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-2)


def test_the_order_of_the_test_inputs_hardly_matters(experts):
    inputs = clouds(FORWARD_50, 100).inputs
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(1))
    one, two = (adapted(experts, x).head.factors / 3 for x in (inputs, inputs[order]))
    assert (one - two).abs().max() < 0.05


def test_adapting_leaves_the_network_as_it_is(experts):
    before = copy.deepcopy(experts.model.state_dict())
    after = adapted(experts, clouds(FORWARD_50, 100).inputs).state_dict()
    assert all(
        torch.equal(after[name.replace("head.", "head.head.", 1)], value)
        for name, value in before.items()
    )


def test_one_test_input_is_enough_to_adapt(experts):
    model = adapted(experts, clouds(FORWARD_50, 100).inputs[:1])
    assert torch.isfinite(model.head.factors).all()
