import math

import pytest
import torch
from by_hand import COUNTS, LABELS, SCORES, assert_loss, cross_entropy, slope, tensors
from torch import nn

from ltbench import Batch, LTBenchError, Phase, recipe
from ltbench.contract.context import Output
from ltbench.testing.probes import probe_run
from ltbench.testing.task import trained
from ltbench.training.engine import objective

WEIGHT = [[3.0, 4.0], [0.0, 1.0], [3.0, 0.0]]  # lengths 5, 1, 3


def second_stage(text="weight-balancing", weight=WEIGHT):
    """A run that enters the second stage with given class weights."""
    method = recipe(text)
    run = probe_run(method, COUNTS, torch.float64)
    model = nn.Module()
    model.head = nn.Linear(2, 3).double()
    with torch.no_grad():
        model.head.weight.copy_(torch.tensor(weight))
        model.head.bias.fill_(9)
    run.model = method.build(model, run)
    run.phase = Phase("head", 2, 0.1, 0.1, learn="head")
    method.prepare(run)
    return method, run, run.model.head


def test_the_radius_lies_a_tenth_of_the_way_between_shortest_and_longest_and_cuts_nothing_yet():
    _, _, head = second_stage()
    assert math.isclose(head.radius.item(), 1 + 0.1 * (5 - 1), rel_tol=1e-7)
    assert head.weight.tolist() == WEIGHT


def test_longer_weights_are_cut_back_to_the_radius_after_an_epoch_and_the_bias_is_free():
    method, run, head = second_stage("weight-balancing(threshold=0.25)")  # radius 2
    method.prepare(run)  # as the next epoch begins
    expected = [[1.2, 1.6], [0.0, 1.0], [2.0, 0.0]]
    torch.testing.assert_close(head.weight, torch.tensor(expected, dtype=torch.float64))
    assert head.bias.tolist() == [9, 9, 9]


def test_the_last_epoch_is_cut_back_too_and_by_the_radius_of_the_start():
    method, run, head = second_stage("weight-balancing(threshold=0.25)")
    with torch.no_grad():
        head.weight.mul_(10)
    model = method.finish(run.model.requires_grad_(False), None, run)
    assert model.head.weight.norm(dim=1).tolist() == pytest.approx([2, 2, 2])


def test_class_weights_of_length_0_stay_finite():
    zeros = [[0.0, 0.0], [0.0, 0.0], [3.0, 0.0]]
    method, run, head = second_stage("weight-balancing(threshold=0.0)", zeros)
    method.prepare(run)
    assert head.weight.tolist() == [[0, 0]] * 3


def test_the_second_stage_weighs_the_cross_entropy_by_effective_numbers():
    method, run, _ = second_stage()
    scores, labels = tensors()
    weights = [(1 - 0.9999) / (1 - 0.9999**n) for n in COUNTS]
    total = sum(weights[y] for y in LABELS)
    rows = [(row, y, weights[y] / total) for row, y in zip(SCORES, LABELS, strict=True)]
    batch = Batch(scores, [(labels, 1.0)], torch.arange(3))
    assert_loss(
        objective(method, Output((scores,), scores), batch, run),
        scores,
        sum(w * cross_entropy(row, y) for row, y, w in rows),
        [[w * g for g in slope(row, y)] for row, y, w in rows],
    )


def test_the_stages_have_the_lengths_and_decays_of_the_code():
    method = recipe("weight-balancing")
    run = probe_run(method, COUNTS, torch.float32)
    plan = method.phases([Phase("main", 320, 0.01, 5e-4)], run)
    assert [(phase.epochs, phase.lr, phase.weight_decay, phase.learn) for phase in plan] == [
        (320, 0.01, 5e-3, ""),
        (10, 0.01, 0.1, "head"),
    ]
    single = recipe("weight-balancing(stages=1)")
    assert single.phases([Phase("main", 320, 0.01, 5e-4)], run) == plan[:1]


def test_only_the_classifier_and_its_radius_change_in_the_second_stage():
    states = {}

    def keep(state):
        states[state["position"]] = {name: t.clone() for name, t in state["model"].items()}

    head = trained(recipe("weight-balancing(head_decay=0.0)"), checkpoint=keep).model.head
    changed = {name for name, t in states[0].items() if not torch.equal(t, states[1][name])}
    assert changed == {"head.weight", "head.bias", "head.radius"}
    lengths = states[0]["head.weight"].norm(dim=1)
    radius = lengths.min() + 0.1 * (lengths.max() - lengths.min())
    torch.testing.assert_close(head.radius, radius)
    assert (head.weight.norm(dim=1) <= radius * (1 + 1e-6)).all()


@pytest.mark.parametrize("wrong", ["stages=3", "beta=1.0", "threshold=1.5", "decay=-1.0"])
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(LTBenchError, match=wrong.split("=")[0]):
        recipe(f"weight-balancing({wrong})")
