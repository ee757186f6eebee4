"""Methods of bags: pooling by numbers of released code, contrast worked by hand, in float64."""

import math

import numpy as np
import pytest
import torch
from oracles import oracle
from torch import nn

from ltbench import LTBenchError, recipe
from ltbench.contract.context import Batch, Output, Phase, Run
from ltbench.models.mlp import Network, Options
from ltbench.testing.suites import parametrize_with_checks
from ltbench.tracks.bags.contract import BagRecipe
from ltbench.tracks.bags.making import by_chance
from ltbench.tracks.bags.pooling import Mean, Pooled
from ltbench.training.engine import objective
from ltbench_plugins.bags.pooling import ABMIL, Attention, GatedABMIL, GatedAttention, Largest
from ltbench_plugins.bags.sc_mil import SCMIL, supervised_contrast

POOLS = {
    "mean": Mean,
    "attention": lambda: Attention(5, 3),
    "gated": lambda: GatedAttention(5, 3),
    "largest": Largest,
}


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def pool(name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return POOLS[name]().double()


def bags(places=6, seed=0):
    """Features [3, 6, 5] of bags with 6, 4 and 1 instances, and which places are filled."""
    chance = torch.Generator().manual_seed(seed)
    filled = torch.arange(places) < torch.tensor([[6], [4], [1]])
    h = torch.randn(3, places, 5, generator=chance, dtype=torch.float64)
    return h * filled[..., None], filled


NAMES = {
    "Attention": {"attention.0": "V", "attention.2": "w"},
    "GatedAttention": {"attention_V.0": "V", "attention_U.0": "U", "attention_w": "w"},
}


@pytest.mark.parametrize(
    ("name", "kind"), [("Attention", Attention), ("GatedAttention", GatedAttention)]
)
def test_pooling_gives_the_numbers_of_released_code(name, kind):
    told = oracle("abmil")["pooling"][name]
    given = {key: double(value) for key, value in told["parameters"].items()}
    made = kind(6, 4).double()
    made.load_state_dict(
        {
            f"{own}.{part}": given[f"{theirs}.{part}"]
            for theirs, own in NAMES[name].items()
            for part in ("weight", "bias")
        }
    )
    h, filled = double(told["instances"])[None], torch.ones(1, 5, dtype=torch.bool)
    torch.testing.assert_close(
        made.weights(h, filled), double(told["attention"]), rtol=1e-5, atol=1e-7
    )
    z = made(h, filled)
    likely = (z @ given["classifier.0.weight"].T + given["classifier.0.bias"]).sigmoid()
    torch.testing.assert_close(likely, double(told["probability"]), rtol=1e-5, atol=1e-7)


def test_bags_by_chance_are_the_lists_of_released_code():
    told = oracle("abmil")["mnist_bags_seed1_train200"]
    stream = by_chance(60_000, 10, 2, np.random.RandomState(1))
    lists = [next(stream).tolist() for _ in range(200)]
    assert [len(one) for one in lists] == told["lengths"]
    assert lists[:3] == told["indices_of_first_3"]
    assert lists[-1] == told["last_bag"]


def test_attention_is_a_softmax_of_gated_products_by_hand():
    made = GatedAttention(1, 1).double()
    for module, weight in ((made.V, 1.0), (made.U, 2.0), (made.w, 3.0)):
        nn.init.constant_(module.weight, weight)
        nn.init.zeros_(module.bias)
    h = double([[[0.5], [-1.0]]])
    scores = [3 * math.tanh(x) / (1 + math.exp(-2 * x)) for x in (0.5, -1.0)]
    first = math.exp(scores[0]) / sum(map(math.exp, scores))
    filled = torch.ones(1, 2, dtype=torch.bool)
    weights = made.weights(h, filled)
    torch.testing.assert_close(weights, double([[first, 1 - first]]))
    torch.testing.assert_close(made(h, filled), double([[0.5 * first - (1 - first)]]))


def test_the_largest_of_each_feature_is_taken_and_shared_among_equals():
    h = double([[[1.0, 4.0, 0.0], [3.0, 4.0, 0.0], [9.0, 9.0, 9.0]]])
    filled = torch.tensor([[True, True, False]])
    made = Largest()
    assert made(h, filled).tolist() == [[3.0, 4.0, 0.0]]
    torch.testing.assert_close(made.weights(h, filled), double([[1 / 3, 2 / 3, 0.0]]))


@pytest.mark.parametrize("name", POOLS)
def test_padding_counts_exactly_nothing_and_weights_sum_to_one(name):
    made, (h, filled) = pool(name), bags()
    weights = made.weights(h, filled)
    assert (weights[~filled] == 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3, dtype=torch.float64))
    spoiled = h.masked_fill(~filled[..., None], 1e6)
    torch.testing.assert_close(made(spoiled, filled), made(h, filled), rtol=0, atol=0)
    torch.testing.assert_close(made(h, filled)[2], h[2, 0])  # one instance is itself


@pytest.mark.parametrize("name", POOLS)
def test_pooling_does_not_depend_on_the_order_of_instances(name):
    made, (h, filled) = pool(name), bags()
    order = torch.tensor([5, 2, 0, 4, 1, 3])
    torch.testing.assert_close(made(h[:, order], filled[:, order]), made(h, filled))
    torch.testing.assert_close(
        made.weights(h[:, order], filled[:, order]), made.weights(h, filled)[:, order]
    )


@pytest.mark.parametrize("name", POOLS)
def test_gradients_of_pools_are_those_of_differences(name):
    made, (h, filled) = pool(name), bags(seed=1)

    def pooled(features):
        return made(features * filled[..., None], filled)

    assert torch.autograd.gradcheck(pooled, h.clone().requires_grad_())


@pytest.mark.parametrize("name", POOLS)
def test_a_bag_without_instances_gives_no_number(name):
    made, (h, filled) = pool(name), bags()
    out = made(torch.zeros_like(h), torch.zeros_like(filled))
    assert not out.isfinite().any()


# Contrast.


def test_contrast_of_bags_is_the_number_worked_by_hand():
    z = double([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [1.0, 0.0]])
    labels = torch.tensor([0, 0, 1, 2])
    alike = [[0, 0.6, 1], [0, 0.8, 0], [0.6, 0.8, 0.6], [1, 0, 0.6]]
    # of four anchors two have a mate, at likeness 0; the others count 0
    expected = sum(math.log(sum(math.exp(s / 0.5) for s in alike[anchor])) for anchor in (0, 1))
    found = supervised_contrast(z, labels, 0.5)
    torch.testing.assert_close(found, double(expected / 4))


def at(progress, head=None):
    counts = double([4, 2, 2])
    run = Run(counts, counts / counts.sum(), double(progress), Phase("main", 4, 0.1, 0.0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        run.model = Pooled(Network((5,), 3, Options([4]))).double()
    return run


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_contrast_gives_way_to_classes_along_a_parabola(progress):
    run, method = at(progress), SCMIL()
    with torch.random.fork_rng(devices=[]):
        run.model = method.build(run.model, run).double()
    chance = torch.Generator().manual_seed(0)
    features = torch.randn(8, 4, generator=chance, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2])
    scores = run.model.head(features)
    batch = Batch(features, [(labels, 1.0)], torch.arange(8))
    loss = objective(BagRecipe(method), Output((scores,), features), batch, run)
    plain = nn.functional.cross_entropy(scores, labels)
    z = nn.functional.normalize(run.model.projector(features))
    contrast = supervised_contrast(z, labels, 0.5)
    expected = progress**2 * plain + (1 - progress**2) * contrast
    torch.testing.assert_close(loss, expected)
    (slope,) = torch.autograd.grad(loss, features, retain_graph=True)
    (wanted,) = torch.autograd.grad(expected, features)
    torch.testing.assert_close(slope, wanted)


def test_weights_and_margins_of_others_stand_within_its_cross_entropy():
    run = at(1.0)
    methods = BagRecipe(*recipe("class-weights+sc-mil+logit-adjustment").methods)
    with torch.random.fork_rng(devices=[]):
        run.model = methods.build(run.model, run).double()
    methods.prepare(run)
    features = torch.eye(8, dtype=torch.float64)[:, :4]
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2])
    scores = run.model.head(features)
    batch = Batch(features, [(labels, 1.0)], torch.arange(8))
    loss = objective(methods, Output((scores,), features), batch, run)
    prior = double([0.5, 0.25, 0.25])
    expected = nn.functional.cross_entropy(scores + prior.log(), labels, weight=1 / prior)
    torch.testing.assert_close(loss, expected)


# Recipes.


@pytest.mark.parametrize("text", ["abmil+max-pooling", "abmil+gated-abmil"])
def test_a_recipe_pools_in_one_way(text):
    first, second = text.split("+")
    with pytest.raises(LTBenchError, match=f"{first} and {second} both decide the pooling"):
        recipe(text)


def test_a_recipe_puts_its_pool_into_the_network():
    run = at(0.0)
    assert isinstance(run.model.pool, Mean)
    for method, kind in ((ABMIL(hidden=7), Attention), (GatedABMIL(), GatedAttention)):
        built = BagRecipe(method).build(at(0.0).model, run)
        assert type(built.pool) is kind and built.pool.V.in_features == 4
        assert built.pool.V.out_features == (7 if kind is Attention else 128)


@parametrize_with_checks(
    ["abmil", "gated-abmil", "max-pooling", "sc-mil", "gated-abmil+logit-adjustment+sc-mil"]
)
def test_checks(method, check):
    check(method)
