import pytest
import torch
from compressing import recovering, taught_by
from torch import nn

from ltbench import LTBenchError, recipe
from ltbench.contract.context import Rows
from ltbench.errors import Unmet
from ltbench.models import build
from ltbench.testing.task import COUNTS, rows_of
from ltbench.tracks.compression.checks import begun, compressed
from ltbench.tracks.compression.pruning import Graph, l1, largest, macs, pruned, size

NETWORKS = [
    ("mlp", {"widths": [8, 6, 4], "batch_norm": True}, ["trunk.1", "branch.0"]),
    ("convnet", {"widths": [8, 6, 4]}, ["trunk.0", "branch.0.0"]),
    ("resnet", {"depth": 8, "width": 4}, ["trunk.3.conv1", "branch.0.conv1", "branch.1.conv1"]),
]


def run_with(name, options, keep=0.5, shape=(1, 8, 8)):
    """A run whose teacher is another network."""
    run = begun(rows_of(COUNTS), keep)
    run.train = Rows(torch.randn(6, *shape), torch.arange(6) % 4)
    run.recipe = recovering("l1")
    return taught_by(run, *(build(name, shape, 4, options) for _ in range(2)))


@pytest.mark.parametrize(("name", "options", "layers"), NETWORKS)
def test_layers_lose_filters_but_those_of_shortcuts_and_the_last(name, options, layers):
    run = run_with(name, options)
    assert list(Graph(run.model, run).layers) == layers


@pytest.mark.parametrize(("name", "options", "layers"), NETWORKS)
def test_half_of_the_filters_leave_half_of_the_filters(name, options, layers):
    run = run_with(name, options)
    before = {layer: len(run.model.get_submodule(layer).weight) for layer in layers}
    chosen = pruned(run.model, run)
    for layer, filters in before.items():
        assert len(run.model.get_submodule(layer).weight) == len(chosen[layer]) == filters / 2
    teacher = run.granted.teacher
    assert run.model.head.weight.shape == teacher.head.weight.shape
    assert size(run.model) < size(teacher)
    assert macs(run.model, run.train.inputs) < macs(teacher, run.train.inputs)
    assert run.model(run.train.inputs).shape == (6, 4)


def test_all_layers_of_a_vgg_but_the_last_lose_filters():
    run = run_with("vgg", {"depth": 16, "narrower": 16}, shape=(3, 32, 32))
    assert len(Graph(run.model, run).layers) == 12
    pruned(run.model, run)
    assert run.model.features(run.train.inputs).shape == (6, 32)


def test_a_vgg_of_sixteen_layers_has_the_papers_widths_and_takes_no_small_images():
    vgg = build("vgg", (3, 32, 32), 10, {"depth": 16})
    widths = [m.out_channels for m in vgg.modules() if isinstance(m, nn.Conv2d)]
    assert widths == [64, 64, 128, 128, *[256] * 3, *[512] * 6]
    # 3x3 weights, two numbers of BatchNorm a channel, and the head
    before = [3, *widths[:-1]]
    convolved = sum(9 * a * b + 2 * b for a, b in zip(before, widths, strict=True))
    assert size(vgg) == convolved + 513 * 10
    with pytest.raises(LTBenchError, match="a vgg takes images from 16x16 on"):
        build("vgg", (1, 8, 8), 10, {"depth": 16})


def test_what_stays_is_what_the_teacher_had():
    run = run_with("convnet", {"widths": [4, 4]})
    with torch.no_grad():
        for k, scale in enumerate((1.0, 3.0, 2.0, 0.5)):
            run.model.trunk[0].weight[k] = scale * (-1) ** k
    before = run.model.trunk[0].weight.clone()
    assert l1(run.model.trunk[0]).tolist() == [9, 27, 18, 4.5]
    chosen = pruned(run.model, run)
    assert chosen["trunk.0"].tolist() == [1, 2]
    assert torch.equal(run.model.trunk[0].weight, before[1:3])


def test_of_equal_filters_the_first_stay():
    assert largest(torch.tensor([1.0, 2.0, 1.0, 1.0]), 2).tolist() == [0, 1]


@pytest.mark.parametrize("name", ["mlp", "convnet", "resnet"])
def test_where_all_is_kept_the_outputs_are_the_teachers(name):
    options = next(options for known, options, _ in NETWORKS if known == name)
    run = run_with(name, options, keep=1.0)
    pruned(run.model, run)
    assert torch.equal(run.model(run.train.inputs), run.granted.teacher(run.train.inputs))


def test_a_network_without_a_layer_to_prune_is_said():
    run = run_with("mlp", {"widths": [8]})
    with pytest.raises(Unmet, match="no layer of ltbench.models.mlp can lose filters"):
        pruned(run.model, run)


def test_l1_does_not_train_and_bp_does():
    rows = rows_of(COUNTS)
    assert compressed(recipe("l1"), rows).run.passes == 0
    assert compressed(recipe("bp"), rows).run.passes == 3 * len(rows)
