import pytest
import torch
from compressing import recovering
from torch import nn

from ltbench import recipe
from ltbench.testing.task import COUNTS, rows_of
from ltbench.tracks.compression.checks import begun, compressed
from ltbench_plugins.compression.cross_distillation import (
    columns,
    norms,
    patches,
    refitted,
    sparsed,
)

WEIGHT = torch.tensor([[2.0, 1.0, 0.1], [-1.0, 3.0, 0.2]], dtype=torch.float64)


def test_what_stays_makes_up_for_what_goes():
    """Inputs 0 and 2 always agree, so dropping 2 adds its weight to that of 0."""
    x = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [2.0, 1.0, 2.0]], dtype=torch.float64)
    solved = refitted(WEIGHT, x.T @ x / 3, torch.tensor([0, 1]))
    torch.testing.assert_close(
        solved, torch.tensor([[2.1, 1.0], [-0.8, 3.0]], dtype=torch.float64), rtol=0, atol=1e-3
    )


def test_the_weakest_inputs_go_and_only_as_many_as_must():
    sparse = sparsed(WEIGHT, torch.eye(3, dtype=torch.float64), 3, 2, steps=10)
    assert (norms(sparse, 3) > 0).tolist() == [True, True, False]
    untouched = sparsed(WEIGHT, torch.eye(3, dtype=torch.float64), 3, 3, steps=10)
    assert torch.equal(untouched, WEIGHT)


def test_an_input_that_another_stands_in_for_goes_first():
    # input 0 has small weights but nobody else brings it; 1 and 2 are the same
    x = torch.tensor([[9.0, 1.0, 1.0], [-9.0, 1.0, 1.0]], dtype=torch.float64)
    weight = torch.tensor([[0.5, 0.6, 0.6]], dtype=torch.float64)
    sparse = sparsed(weight, x.T @ x / 2, 3, 2, steps=200)
    assert norms(sparse, 3)[0] > 0
    assert norms(sparse, 3)[1:].min() == 0


def test_patches_times_weights_are_the_layers_outputs():
    for layer, x in (
        (nn.Conv2d(2, 3, 3, 2, padding=1, bias=False), torch.randn(2, 2, 6, 6)),
        (nn.Linear(4, 3, bias=False), torch.randn(2, 4)),
    ):
        out = layer(x).movedim(1, -1).flatten(0, -2)
        torch.testing.assert_close(patches(layer, x) @ layer.weight.flatten(1).T, out)


def test_columns_are_those_of_the_filters_that_stay():
    assert columns(torch.tensor([0, 2]), torch.zeros(5, 6), 3).tolist() == [0, 1, 4, 5]


@pytest.mark.parametrize("mu", [0.0, 1.0])
def test_inputs_are_the_teachers_or_the_students_own(mu):
    run = begun(rows_of(COUNTS))
    method = recovering(f"cd(mu={mu})")
    run.recipe = method
    with torch.no_grad():
        run.model.trunk[0].weight.mul_(2)
        own = method.methods[0].product(run.model, "trunk.0", run)
        later = method.methods[0].product(run.model, "trunk.3.conv1", run)
        run.model.trunk[0].weight.div_(2)
        before = method.methods[0].product(run.model, "trunk.3.conv1", run)
    assert own.shape == (9, 9)
    assert torch.allclose(later, before) == (mu == 1)


def test_it_fine_tunes_at_a_small_share_of_the_rate():
    run = begun(rows_of(COUNTS))
    (phase,) = recipe("cd(rate=0.1)").phases([run.phase], run)
    assert phase.lr == pytest.approx(0.1 * run.phase.lr)


def test_it_starts_nearer_to_the_teacher_than_weights_alone():
    rows = rows_of(COUNTS)
    gaps = []
    for text in ("cd", "bp"):
        run = begun(rows)
        run.recipe = recovering(text)
        model = run.recipe.build(run.model, run).eval()
        gaps.append((model(rows.inputs) - run.granted.teacher(rows.inputs)).square().mean())
    assert gaps[0] < gaps[1]
    assert compressed(recipe("cd"), rows).run.passes > 0
