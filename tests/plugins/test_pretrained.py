"""Methods on pre-trained networks: modules by number, identity at the start, what stays frozen."""

import copy
import math

import pytest
import torch
from oracles import oracle
from torch import nn

from ltbench import CosineHead, LTBenchError, Output, recipe
from ltbench.contract.context import Phase, Run
from ltbench.models.convnet import Network as ConvNet
from ltbench.models.convnet import Options as ConvOptions
from ltbench.models.mlp import Network, Options
from ltbench.testing.probes import probe_loss
from ltbench.testing.task import COUNTS, SHAPE, rows_of
from ltbench.tracks.finetuning.checks import networks, trained
from ltbench.tracks.finetuning.contract import FinetuningGrants, Tuning, learning
from ltbench_plugins.finetuning.back_door import BackDoor
from ltbench_plugins.finetuning.lift import LIFT, Adapter, bottleneck
from ltbench_plugins.finetuning.lora import Bypassed, LoRA, passable

ROWS = rows_of(COUNTS)


def exact(values):
    return torch.tensor(values, dtype=torch.float64)


def run_of(*granted):
    counts = torch.tensor(COUNTS, dtype=torch.float32)
    run = Run(
        counts=counts,
        seen=counts / counts.sum(),
        progress=torch.zeros(()),
        phase=Phase("main", 3, lr=0.05, weight_decay=1e-3),
        granted=FinetuningGrants(networks=granted),
    )
    run.train = ROWS
    return run


def moving_batch_norm(network):
    """The network after a pass that moved its statistics, so that these are not at their start."""
    network.train()(ROWS.inputs)
    return network.eval()


def pretrained(widths=(16, 8)):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return moving_batch_norm(Network(SHAPE, len(COUNTS), Options([*widths], batch_norm=True)))


def test_an_adapter_gives_the_numbers_of_released_code():
    told = oracle("lift_modules")
    adapter = Adapter(8, 3).double()
    adapter.load_state_dict(
        {name: exact(value) for name, value in told["adaptformer"]["state"].items()}
    )
    x = exact(told["x"])
    torch.testing.assert_close(
        adapter.beside(x), exact(told["adaptformer"]["out"]), rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(adapter(x), x + adapter.beside(x))


def test_an_adapter_is_worked_by_hand():
    adapter = Adapter(2, 1).double()
    nn.init.constant_(adapter.down_proj.weight, 1.0)
    adapter.down_proj.weight.data[0, 1] = 0.0
    adapter.up_proj.weight.data[:, 0] = torch.tensor([1.0, 3.0])
    adapter.scale.data.fill_(0.5)
    found = adapter(exact([[3.0, 1.0]]))
    # LN of (3, 1) is (1, -1) over sqrt(1 + 1e-5); down takes the first
    first = 1 / math.sqrt(1 + 1e-5)
    torch.testing.assert_close(found, exact([[3 + 0.5 * first, 1 + 1.5 * first]]))


def test_an_adapter_acts_on_each_place_of_a_map_alike():
    adapter = Adapter(4, 2)
    nn.init.normal_(adapter.up_proj.weight)
    maps = torch.randn(3, 4, 5, 5)
    torch.testing.assert_close(adapter(maps)[:, :, 2, 3], adapter(maps[:, :, 2, 3]))


def test_a_bypass_gives_the_numbers_of_released_code():
    told = oracle("lift_modules")
    given, x = told["lora"], exact(told["x"])
    layer = Bypassed(nn.Linear(8, 8), 3).double()
    into, out = layer.bypass
    into.weight.data, out.weight.data = (exact(given["state"][n]).T for n in ("lora_A", "lora_B"))
    assert layer.scaling == given["scaling"]
    beside = layer(x) - layer.layer(x)
    torch.testing.assert_close(beside, exact(given["out"]), rtol=1e-5, atol=1e-6)


def test_the_gradient_of_a_bypass_is_that_of_the_product_written_out():
    layer = Bypassed(nn.Linear(3, 2), 2, alpha=3.0).double()
    into, out = layer.bypass
    nn.init.normal_(out.weight)
    x = torch.randn(4, 3, dtype=torch.float64)
    layer(x).square().sum().backward()
    slope = 2 * layer(x).detach()
    torch.testing.assert_close(out.weight.grad, slope.T @ (x @ into.weight.T) * 1.5)
    torch.testing.assert_close(into.weight.grad, out.weight.detach().T @ slope.T @ x * 1.5)


def test_the_cosine_head_and_the_adjusted_loss_are_those_of_released_code():
    told = oracle("lift_modules")
    given = told["cosine_classifier"]
    head = CosineHead(8, 4, given["scale"]).double()
    head.weight.data = exact(given["weight"])
    scores = head(exact(told["x"]))
    torch.testing.assert_close(scores, exact(given["out"]), rtol=1e-5, atol=1e-5)
    counts, labels = exact(told["counts"]), torch.tensor(told["labels"])
    for text in ("logit-adjustment", "balanced-softmax"):
        found = probe_loss(text, scores, labels, counts)
        assert math.isclose(found.item(), told["losses"]["LogitAdjustedLoss"], rel_tol=1e-5)


@pytest.mark.parametrize(
    ("classes", "adapters", "width"),
    [(10, 2, 2), (10, 1, 4), (100, 12, 4), (365, 12, 8), (1000, 12, 32), (2, 3, 1)],
)
def test_the_bottleneck_is_a_power_of_two_within_its_share_of_classes(classes, adapters, width):
    assert bottleneck(classes, adapters) == width
    assert width == max(1, 2 ** math.floor(math.log2(classes / (2 * adapters))))


@pytest.mark.parametrize("method", [LIFT(), LoRA(rank=2)])
def test_what_is_put_in_changes_no_feature_at_the_start(method):
    whole, x = pretrained(), ROWS.inputs
    tuned = method.tune(copy.deepcopy(whole), run_of(whole)).train()
    torch.testing.assert_close(tuned.features(x), whole.features(x), rtol=0, atol=0)


def test_lora_passes_by_convolutions_too_and_starts_as_they_were():
    network = ConvNet(SHAPE, 4, ConvOptions([4, 6])).eval()
    tuned = LoRA(rank=2).tune(copy.deepcopy(network), run_of(network))
    assert any(isinstance(m, Bypassed) for m in tuned.modules())
    torch.testing.assert_close(tuned.features(ROWS.inputs), network.features(ROWS.inputs))


def test_lora_leaves_attention_and_layers_of_several_groups_alone():
    network = nn.ModuleDict(
        {
            "stem": nn.Conv2d(3, 4, 3),
            "deep": nn.Conv2d(4, 4, 3, groups=4),
            "attention": nn.MultiheadAttention(4, 2),
            "last": nn.Linear(4, 4),
        }
    )
    assert passable(network) == ["stem", "last"]


def test_lora_says_so_where_there_is_no_layer():
    network = nn.Sequential(nn.ReLU())
    network.head = nn.Linear(2, 2)
    with pytest.raises(LTBenchError, match="lora: Sequential has no layer for a bypass"):
        LoRA().tune(network, run_of())


def test_lift_says_so_where_there_is_no_trunk():
    network = nn.Module()
    network.features, network.head = (lambda x: x.flatten(1)), nn.Linear(64, 4)
    with pytest.raises(LTBenchError, match="lift: Module has no trunk for an adapter"):
        LIFT().tune(network, run_of())


@pytest.mark.parametrize("text", ["linear-probe", "lora", "lift", "back-door+linear-probe"])
def test_a_frozen_network_keeps_its_weights_and_statistics_to_the_bit(text):
    before = [moving_batch_norm(network) for network in networks(len(COUNTS))]
    granted = FinetuningGrants(networks=tuple(before))
    model = trained(recipe(text), COUNTS, granted=granted).model
    bodies = [one.body for one in getattr(model, "bodies", [model])]
    for network, body in zip(before, bodies, strict=False):
        kept = {tuple(value.shape): [] for value in network.state_dict().values()}
        for value in body.state_dict().values():
            kept.setdefault(tuple(value.shape), []).append(value)
        for name, value in network.state_dict().items():
            if not name.startswith("head"):
                assert any(torch.equal(value, other) for other in kept[tuple(value.shape)]), name


def test_what_learns_is_the_head_and_what_was_put_in():
    # a head of 8 features for 4 classes; a bypass of the second layer, 16 to 8; two adapters
    sizes = {
        "linear-probe": 8 * 4 + 4,
        "lora(rank=3)": 8 * 4 + 4 + 3 * (16 + 8),
        "lift(width=1)": 8 * 4 + sum(2 * d + (d + 1) + 2 * d + 1 for d in (16, 8)),
        "back-door+linear-probe": 2 * (8 * 4 + 4),
    }
    for text, numbers in sizes.items():
        assert learning(trained(recipe(text), COUNTS).model) == numbers, text


def test_the_head_of_lift_starts_at_class_means_of_length_one():
    whole = pretrained()
    head = LIFT().tune(copy.deepcopy(whole), run_of(whole)).head
    features = whole.features(ROWS.inputs)
    for c in range(len(COUNTS)):
        mean = features[ROWS.labels == c].mean(dim=0)
        torch.testing.assert_close(head.weight[c], mean / mean.norm())


@pytest.mark.parametrize("tuning", ["linear-probe", "lora", "lift+logit-adjustment"])
def test_the_back_door_through_one_network_is_that_network(tuning):
    alone, through = (
        trained(recipe(text), COUNTS) for text in (tuning, f"back-door(networks=1)+{tuning}")
    )
    assert torch.equal(alone.scores, through.scores)


@pytest.mark.parametrize("tuning", ["linear-probe", "lora", "lift+logit-adjustment", "erm"])
def test_the_back_door_through_copies_of_one_network_is_that_network(tuning):
    one = networks(len(COUNTS))[0]
    granted = FinetuningGrants(networks=(one, copy.deepcopy(one), copy.deepcopy(one)))
    alone = trained(recipe(tuning), COUNTS, granted=granted)
    through = trained(recipe(f"back-door+{tuning}"), COUNTS, granted=granted)
    torch.testing.assert_close(through.scores, 3 * alone.scores, rtol=1e-4, atol=1e-4)
    assert torch.equal(through.scores.argmax(1), alone.scores.argmax(1))


def test_networks_of_the_back_door_learn_as_they_would_alone():
    first, second = networks(len(COUNTS))
    apart = [
        trained(recipe("linear-probe"), COUNTS, granted=FinetuningGrants(networks=(one,))).scores
        for one in (first, second)
    ]
    granted = FinetuningGrants(networks=(first, second))
    together = trained(recipe("back-door+linear-probe"), COUNTS, granted=granted).scores
    torch.testing.assert_close(together, sum(apart), rtol=1e-4, atol=1e-4)


def test_scores_add_up_in_any_order():
    heads = tuple(torch.randn(3, 5, 4, dtype=torch.float64))
    features = torch.zeros(5, 0)
    found = BackDoor().combine(Output(heads, features), None)
    turned = BackDoor().combine(Output(heads[::-1], features), None)
    torch.testing.assert_close(found, heads[0] + heads[1] + heads[2])
    torch.testing.assert_close(found, turned)


def test_more_networks_than_there_are_is_noted():
    found = trained(recipe("back-door(networks=9)+linear-probe"), COUNTS)
    assert found.run.notes == ["back-door asks for 9 networks, and there are 2"]


@pytest.mark.parametrize("text", ["linear-probe+lift", "lora+lift", "from-scratch+lora"])
def test_two_methods_that_decide_what_learns_are_refused(text):
    with pytest.raises(LTBenchError, match="both decide what of a pre-trained network learns"):
        recipe(text)


def test_margins_with_a_cosine_head_of_their_own_build_on_a_frozen_network():
    model = trained(recipe("linear-probe+ldam+drw"), COUNTS).model
    assert isinstance(model.head, CosineHead) and model.head.scale == 30
    with pytest.raises(LTBenchError, match="ldam takes the place of a linear head"):
        trained(recipe("lift+ldam"), COUNTS)


def test_full_fine_tuning_has_a_rate_of_its_own_for_what_was_there_before():
    run, model = run_of(), pretrained().requires_grad_(True)
    groups = recipe("full-finetune(rate=0.25)").optimizer(model, run).param_groups
    assert [group["lr"] for group in groups] == [0.25 * 0.05, 0.05]
    assert groups[1]["params"] == [*model.head.parameters()]
    assert learning(model) == sum(p.numel() for group in groups for p in group["params"])


def test_from_scratch_nothing_is_left_of_what_was_there_before():
    whole = pretrained()
    anew = recipe("from-scratch").methods[0].tune(copy.deepcopy(whole), run_of(whole))
    for (name, before), after in zip(whole.named_parameters(), anew.parameters(), strict=True):
        if before.dim() > 1:
            assert not torch.equal(before, after), name


def test_a_recipe_builds_on_each_network_that_is_chosen():
    run = run_of(*networks(len(COUNTS)))
    tuning = Tuning(*recipe("back-door+lift").methods)
    built = tuning.build(copy.deepcopy(run.granted.networks[0]), run)
    assert len(built.head(built.features(ROWS.inputs))) == 2
    assert tuning.learning == learning(built)
