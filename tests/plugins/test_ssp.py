import math

import pytest
import torch
from by_hand import COUNTS, cross_entropy, slope, tensors
from torch import nn

from ltbench import Batch, LTBenchError, Phase, Rows, recipe
from ltbench.contract.context import Output
from ltbench.testing.probes import probe_run
from ltbench.testing.task import COUNTS as SMALL
from ltbench.testing.task import rows_of, trained
from ltbench.training.engine import objective

PRETEXTS = ["rotation", "contrastive"]


def begun(pretext="rotation", images=16, shape=(1, 4, 4)):
    """SSP in its own phase, the run and a plain batch."""
    ssp = recipe(f"ssp(pretext='{pretext}')")
    run = probe_run(ssp, COUNTS, torch.float64)
    run.phase = Phase("pretext", 1, 0.1, 0.0)
    x = torch.randn(images, *shape, dtype=torch.float64)
    y = torch.arange(images) % 3
    run.train = Rows(x, y)
    return ssp, run, Batch(x, [(y, 1.0)], torch.arange(images))


def after_pretext(text, rows=None):
    """The network's state at the end of each epoch of the pretext phase."""
    states = []

    def keep(state):
        if state["position"] == 0:
            states.append({name: tensor.clone() for name, tensor in state["model"].items()})

    trained(recipe(text), rows=rows, checkpoint=keep)
    return states


@pytest.mark.parametrize("pretext", PRETEXTS)
def test_the_pretext_phase_never_touches_the_labels(pretext):
    rows = rows_of(SMALL)
    others = Rows(rows.inputs, rows.labels.flip(0))
    text = f"ssp(pretext='{pretext}')"
    first, second = after_pretext(text, rows)[-1], after_pretext(text, others)[-1]
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("pretext", PRETEXTS)
def test_the_pretext_phase_trains_the_body_and_leaves_the_classifier_alone(pretext):
    first, *_, last = after_pretext(f"ssp(pretext='{pretext}')")
    assert torch.equal(first["head.weight"], last["head.weight"])
    assert not torch.equal(first["trunk.1.weight"], last["trunk.1.weight"])


def test_methods_on_top_rest_during_the_pretext_phase():
    alone, on_top = after_pretext("ssp")[-1], after_pretext("ssp+mixup+drw(start=0.0)")[-1]
    assert all(torch.equal(alone[name], on_top[name]) for name in alone)


def test_the_plan_is_a_pretext_phase_and_then_the_main_one_with_a_new_classifier():
    run = probe_run(recipe("ssp"), COUNTS, torch.float32)
    plan = recipe("ssp(share=0.5)").phases([Phase("main", 90, 0.1, 5e-4)], run)
    assert [(phase.role, phase.epochs, phase.reset) for phase in plan] == [
        ("pretext", 45, None),
        ("main", 90, "head"),
    ]


def test_each_image_is_turned_by_as_many_quarters_as_are_to_be_guessed():
    ssp, run, batch = begun()
    turned = ssp.batch(batch, run)
    ((turns, _),) = turned.targets
    for image, k, result in zip(batch.inputs, turns.tolist(), turned.inputs, strict=True):
        assert torch.equal(result, torch.rot90(image, k, (1, 2)))


@pytest.mark.parametrize(("images", "most"), [(16, 4), (6, 2), (1, 1)])
def test_all_four_turns_come_equally_often(images, most):
    ssp, run, batch = begun(images=images)
    ((turns, _),) = ssp.batch(batch, run).targets
    assert turns.bincount(minlength=4).max() <= most
    assert len(turns) == images


def test_the_rotation_loss_is_the_cross_entropy_of_the_turns_alone():
    guesses, turns = tensors([[2.0, 1.0, 0.5, 0.0], [0.3, -0.2, 0.4, 0.9]], [3, 1])
    ssp, run, _ = begun()
    run.model = nn.Module()
    run.model.pretext = nn.Identity()
    scores = torch.full((2, 3), 7.0, dtype=torch.float64, requires_grad=True)
    batch = Batch(guesses, [(turns, 1.0)], torch.arange(2))
    loss = objective(ssp, Output((scores,), guesses), batch, run)
    loss.backward()
    rows = list(zip(guesses.tolist(), turns.tolist(), strict=True))
    assert math.isclose(loss.item(), sum(cross_entropy(row, y) for row, y in rows) / 2)
    expected = [[g / 2 for g in slope(row, y)] for row, y in rows]
    torch.testing.assert_close(guesses.grad, torch.tensor(expected, dtype=torch.float64))
    assert scores.grad is None


def slow_info_nce(z, temperature):
    """Each view against all others, one at a time; view i and view i + N are partners."""
    views, total = len(z), 0.0
    for i in range(views):
        exponentials = [torch.exp(z[i] @ z[j] / temperature) for j in range(views) if j != i]
        partner = torch.exp(z[i] @ z[(i + views // 2) % views] / temperature)
        total = total - torch.log(partner / sum(exponentials))
    return total / views


def test_the_contrastive_loss_asks_for_the_other_view_of_each_row():
    ssp, run, batch = begun("contrastive", images=3)
    run.model = nn.Module()
    run.model.pretext = nn.Identity()
    features = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    output = Output((torch.zeros(6, 3, dtype=torch.float64),), features)
    loss = objective(ssp, output, ssp.batch(batch, run), run)
    expected = slow_info_nce(features / features.norm(dim=1, keepdim=True), 0.2)
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-9)
    found, wanted = (torch.autograd.grad(value, features)[0] for value in (loss, expected))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-9)


def test_both_views_of_a_row_pass_through_the_network():
    ssp, run, batch = begun("contrastive", images=3)
    torch.testing.assert_close(ssp.batch(batch, run).inputs, batch.inputs.repeat(2, 1, 1, 1))


@pytest.mark.parametrize("shape", [(5,), (1, 4, 6)])
def test_rows_that_cannot_be_turned_are_refused(shape):
    ssp, run, batch = begun(shape=shape)
    with pytest.raises(LTBenchError, match="square images"):
        ssp.batch(batch, run)
