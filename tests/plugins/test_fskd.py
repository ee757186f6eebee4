import pytest
import torch
from compressing import recovering
from torch import nn

from ltbench import recipe
from ltbench.testing.task import COUNTS, rows_of
from ltbench.tracks.compression.checks import begun, compressed
from ltbench.tracks.compression.pruning import pruned
from ltbench_plugins.compression.fskd import channels_last, fitted, merge, products


def test_the_fit_is_the_one_worked_out_by_hand():
    # t = 2 s in one channel; the ridge, half of the energy 5, pulls towards 1
    s = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    own, shared = s.T @ s, s.T @ (2 * s)
    assert fitted(own, shared, 0.0).item() == pytest.approx(2)
    assert fitted(own, shared, 0.5).item() == pytest.approx((10 + 2.5) / (5 + 2.5))


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 4, 3, padding=1), nn.Linear(3, 4, bias=False)])
def test_the_merged_1x1_leaves_the_outputs_unchanged(layer):
    layer, q = layer.double(), torch.randn(4, 4, dtype=torch.float64)
    x = (
        torch.randn(2, 3, 5, 5).double()
        if isinstance(layer, nn.Conv2d)
        else torch.randn(2, 3).double()
    )
    with torch.no_grad():
        after = channels_last(layer(x)) @ q.T
        merge(layer, q)
        torch.testing.assert_close(channels_last(layer(x)), after, rtol=0, atol=1e-10)


@torch.no_grad()
def error(run, name, kept):
    """The squared gap of a layer's output to the teacher's at the filters that stayed."""
    out = {}
    for key, model in (("student", run.model), ("teacher", run.granted.teacher)):
        handle = model.get_submodule(name).register_forward_hook(
            lambda module, x, y, key=key: out.__setitem__(key, y)
        )
        model(run.train.inputs)
        handle.remove()
    return (out["student"] - out["teacher"][:, kept]).square().sum().item()


@pytest.mark.parametrize("ridge", [1e-6, 0.1])
def test_each_layers_error_falls(ridge):
    run = begun(rows_of(COUNTS))
    run.recipe = recovering("fskd")
    pruned(run.model, run)
    name, kept = "trunk.3.conv2", torch.arange(4)
    before = error(run, name, kept)
    with torch.no_grad():
        products_ = products(run.model, name, kept, run)
        merge(run.model.get_submodule(name), fitted(*products_, ridge))
    assert error(run, name, kept) < before


def test_rows_count_by_their_weight():
    run = begun(rows_of((4, 2)))
    run.recipe = recovering("fskd+oe-fsmc(lam=0.5)")
    inputs, weights = run.granted.unlabelled()
    assert len(inputs) == 26
    # together the twenty other images have half the weight of the six rows
    assert weights[6:].sum().item() == pytest.approx(0.5 * 6)
    run.recipe = recovering("fskd")
    alone, _ = products(run.model, "trunk.0", torch.arange(4), run)
    run.recipe = recovering("fskd+oe-fsmc(lam=0.5)")
    joined, _ = products(run.model, "trunk.0", torch.arange(4), run)
    run.recipe = recovering("fskd")
    run.train = type(run.train)(run.granted.ood, torch.zeros(20).long())
    others, _ = products(run.model, "trunk.0", torch.arange(4), run)
    torch.testing.assert_close(joined, alone + others * 3 / 20, rtol=1e-4, atol=1e-2)


def test_no_gradient_is_computed_and_no_label_read():
    rows = rows_of(COUNTS)
    made = compressed(recipe("fskd"), rows)
    mixed = compressed(recipe("fskd"), type(rows)(rows.inputs, rows.labels.flip(0)))
    assert made.run.passes == 0
    assert torch.equal(made.scores, mixed.scores)
