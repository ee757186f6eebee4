import pytest
import torch
from torch import nn

from ltbench import Phase, recipe
from ltbench.testing.probes import probe_run
from ltbench.testing.task import COUNTS, rows_of, trained
from ltbench.training.engine import predict


class Fixed(nn.Module):
    """A network of given class weights and biases; its features are its inputs."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(2, 2).double()
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[1.0, 2.0], [0.0, -1.0]]))
            self.head.bias.copy_(torch.tensor([0.5, 1.0]))

    def features(self, x):
        return x


def entered():
    """The network as the second stage begins."""
    lws = recipe("lws")
    run = probe_run(lws, (9, 1), torch.float64)
    run.model, run.phase = Fixed(), Phase("head", 1, 0.1, 5e-4)
    lws.enter(run.train, run)
    run.model.head.requires_grad_(False).factors.requires_grad_(True)
    return run.model


def test_a_factor_scales_the_score_of_its_class_with_the_bias():
    model = entered()
    with torch.no_grad():
        model.head.factors.copy_(torch.tensor([3.0, 0.5]))
    scores = model.head(torch.tensor([[1.0, 1.0]], dtype=torch.float64))
    assert scores.tolist() == [[3 * 3.5, 0.5 * 0.0]]


def test_the_gradient_of_a_factor_is_the_plain_score_times_the_slope_of_the_loss():
    model = entered()
    x = torch.tensor([[1.0, 0.5], [0.0, -1.0]], dtype=torch.float64)
    labels = torch.tensor([0, 1])
    nn.functional.cross_entropy(model.head(x), labels).backward()
    plain = torch.tensor([[2.5, 0.5], [-1.5, 2.0]], dtype=torch.float64)
    slope = plain.softmax(1) - torch.eye(2, dtype=torch.float64)
    torch.testing.assert_close(model.head.factors.grad, (plain * slope).mean(0))


def test_the_first_stage_is_plain_training_and_unit_factors_leave_its_scores_bit_for_bit():
    first, _ = stages()
    plain = trained(recipe("erm")).model.state_dict()
    assert first.keys() == plain.keys()
    assert all(torch.equal(first[name], plain[name]) for name in plain)
    x = torch.randn(5, 2, dtype=torch.float64)
    assert torch.equal(entered().head(x), Fixed().head(x))


def stages():
    states = {}

    def keep(state):
        states[state["position"]] = {name: t.clone() for name, t in state["model"].items()}

    trained(recipe("lws"), checkpoint=keep)
    return states[0], states[1]


def test_only_the_factors_learn_in_the_second_stage():
    first, second = stages()
    assert second.keys() - first.keys() == {"head.factors"}
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(second["head.factors"], torch.ones(4))


def test_the_second_stage_takes_5_epochs_after_90_and_draws_classes_equally():
    lws = recipe("lws")
    run = probe_run(lws, COUNTS, torch.float32)
    plan = lws.phases([Phase("main", 90, 0.1, 5e-4)], run)
    assert [(phase.role, phase.epochs, phase.frozen_bn) for phase in plan] == [
        ("main", 90, False),
        ("head", 5, True),
    ]
    run.phase = plan[1]
    labels = torch.arange(4).repeat_interleave(torch.tensor(COUNTS))
    assert labels.bincount(lws.sampling_weights(labels, run)).tolist() == pytest.approx([1] * 4)


def test_the_trained_network_predicts_with_its_factors():
    done = trained(recipe("lws"))
    inputs = rows_of([2] * 4, seed=3).inputs
    scores, _ = predict(recipe("lws"), done.model, inputs, done.run)
    with torch.no_grad():
        head, features = done.model.head, done.model.features(inputs)
        plain = nn.functional.linear(features, head.weight, head.bias)
    torch.testing.assert_close(scores, plain * done.model.head.factors)
    assert not torch.equal(done.model.head.factors, torch.ones(4))
