import math

import pytest
import torch
from by_hand import COUNTS, LABELS, cross_entropy, softmax

from ltbench import Batch, LTBenchError, Recipe, recipe
from ltbench.contract.context import Output
from ltbench.models.mlp import Network, Options
from ltbench.testing.probes import probe_run
from ltbench.testing.task import COUNTS as TASK
from ltbench.testing.task import trained
from ltbench.training.engine import objective

EXPERTS = [
    [[2.0, 1.0, 0.5], [0.3, -0.2, 0.4], [-1.0, 0.7, 0.1]],
    [[1.0, -0.5, 0.2], [0.1, 0.9, -0.3], [0.4, 1.1, -0.6]],
    [[0.5, 0.3, -1.2], [-0.7, 0.2, 0.8], [0.0, -0.4, 1.3]],
]
DIVERSITY, EVENNESS = 0.2, 0.05
MARGINS = [0.5 * (1 / n) ** 0.25 for n in COUNTS]


def loss_of(heads, progress, text="ride"):
    ride = recipe(text)
    run = probe_run(ride, COUNTS, torch.float64, progress)
    batch = Batch(torch.zeros(3, 1), [(torch.tensor(LABELS), 1.0)], torch.arange(3))
    return objective(ride, Output(tuple(heads), batch.inputs), batch, run)


def temperatures(progress):
    if progress < 0.8:
        return [1.0] * 3
    raw = [3 * n / sum(COUNTS) * EVENNESS + 1 - EVENNESS for n in COUNTS]
    return [t / max(raw) for t in raw]


def divided(row, temperature):
    return softmax([z / t for z, t in zip(row, temperature, strict=True)])


def by_hand(experts, means, progress):
    """The loss, with the mean scores given apart, so that they can be held still."""
    temperature = temperatures(progress)
    square = (sum(temperature) / 3) ** 2
    late = [(1 - 0.9999) / (1 - 0.9999**n) for n in COUNTS]
    weights = late if progress >= 0.8 else [1.0] * 3
    total = sum(weights[y] for y in LABELS)
    loss = 0.0
    for rows in experts:
        for row, mean, y in zip(rows, means, LABELS, strict=True):
            moved = [z - 30 * MARGINS[y] * (c == y) for c, z in enumerate(row)]
            loss += weights[y] / total * cross_entropy(moved, y)
            p, m = divided(row, temperature), divided(mean, temperature)
            apart = sum(a * math.log(a / b) for a, b in zip(p, m, strict=True))
            loss -= DIVERSITY * square * apart / 3
    return loss


def mean_of(experts):
    return [[sum(z) / 3 for z in zip(*rows, strict=True)] for rows in zip(*experts, strict=True)]


@pytest.mark.parametrize("progress", [0.5, 0.9])
def test_each_expert_has_ldams_loss_less_its_divergence_from_the_mean(progress):
    heads = torch.tensor(EXPERTS, dtype=torch.float64)
    expected = by_hand(EXPERTS, mean_of(EXPERTS), progress)
    assert math.isclose(loss_of(heads, progress).item(), expected, rel_tol=1e-9)


@pytest.mark.parametrize("progress", [0.5, 0.9])
def test_no_gradient_goes_through_the_mean(progress):
    heads = torch.tensor(EXPERTS, dtype=torch.float64, requires_grad=True)
    loss_of(heads, progress).backward()
    slopes, h = torch.empty_like(heads), 1e-5
    for e, n, c in torch.cartesian_prod(*map(torch.arange, heads.shape)).tolist():
        moved = heads.detach().clone()
        moved[e, n, c] += h
        more = by_hand(moved.tolist(), mean_of(EXPERTS), progress)
        moved[e, n, c] -= 2 * h
        less = by_hand(moved.tolist(), mean_of(EXPERTS), progress)
        slopes[e, n, c] = (more - less) / (2 * h)
    torch.testing.assert_close(heads.grad, slopes.detach(), rtol=0, atol=1e-8)


def test_experts_of_one_mind_lose_nothing_to_diversity():
    heads = torch.tensor(EXPERTS[:1] * 3, dtype=torch.float64)
    alone = loss_of(heads, 0.9, "ride(diversity=0.0)")
    torch.testing.assert_close(loss_of(heads, 0.9), alone)


def test_a_certain_expert_gives_a_finite_slope():
    heads = 1000 * torch.tensor(EXPERTS, dtype=torch.float64)
    loss_of(heads.requires_grad_(), 0.9).backward()
    assert torch.isfinite(heads.grad).all()


def test_a_batch_of_one_row_without_the_other_classes_has_a_finite_loss():
    ride = recipe("ride")
    run = probe_run(ride, COUNTS, torch.float64)
    heads = tuple(torch.tensor(EXPERTS, dtype=torch.float64)[:, :1])
    batch = Batch(torch.zeros(1, 1), [(torch.tensor([2]), 1.0)], torch.arange(1))
    assert torch.isfinite(objective(ride, Output(heads, batch.inputs), batch, run))


def test_one_expert_without_diversity_is_ldam_drw_to_the_bit():
    one = trained(recipe("ride(experts=1, diversity=0.0)"), TASK)
    other = trained(recipe("ldam+drw"), TASK)
    assert torch.equal(one.scores, other.scores)


def built(text="ride", widths=(16, 8)):
    ride: Recipe = recipe(text)
    model = Network((1, 8, 8), 3, Options(list(widths)))
    return ride.build(model, probe_run(ride, COUNTS, torch.float32)), ride


def test_experts_share_the_trunk_and_have_three_quarters_of_the_channels():
    model, _ = built()
    assert [head.in_features for head in model.head.experts] == [6, 6, 6]
    x = torch.randn(5, 1, 8, 8)
    expected = [
        30 * torch.nn.functional.cosine_similarity(part[:, None], head.weight[None], dim=2)
        for part, head in zip(
            [branch(model.trunk(x)) for branch in model.branch.branches],
            model.head.experts,
            strict=True,
        )
    ]
    torch.testing.assert_close(torch.stack(model(x)), torch.stack(expected))


def test_predictions_are_the_mean_of_the_experts():
    model, ride = built("ride(experts=2)")
    x = torch.randn(5, 1, 8, 8)
    first, second = model(x)
    output = Output((first, second), model.features(x))
    run = probe_run(ride, COUNTS, torch.float32)
    torch.testing.assert_close(ride.combine(output, run), (first + second) / 2)


def test_experts_end_up_further_apart_with_diversity():
    def apart(text):
        result = trained(recipe(text), TASK)
        x = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            scores = torch.stack(result.model(x)).softmax(-1)
        return (scores - scores.mean(0)).abs().sum()

    assert apart("ride(diversity=3.0)") > 1.5 * apart("ride(diversity=0.0)")


def test_a_network_without_branches_is_refused():
    model = torch.nn.Module()
    model.head = torch.nn.Linear(4, 3)
    ride = recipe("ride")
    with pytest.raises(LTBenchError, match="no branches"):
        ride.build(model, probe_run(ride, COUNTS, torch.float32))
