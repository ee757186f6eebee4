"""Diagnostics of features and weights: the formulas by other means, and in cells."""

import copy
import math

import numpy as np
import pytest
import torch
from msgspec import structs

from ltbench import protocol, recipe
from ltbench.datasets import built_in
from ltbench.registry.registry import installed
from ltbench.scoring.collapse import Classes, mean_cosine
from ltbench.scoring.spectrum import evenness
from ltbench.tracks import diagnostics
from ltbench_plugins.optimizers.muon import orthogonalised

CPU = torch.device("cpu")


def simplex(classes):
    """Centred class means [C, C] at equal angles and norms."""
    return torch.eye(classes, dtype=torch.float64) - 1 / classes


def test_collapsed_features_are_told_as_such():
    means = 3 * simplex(4) + 7
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 3])
    classes = Classes(means[labels], labels, 4)
    assert [classes.nc1(), classes.nc2(), classes.nc3(5 * simplex(4))] == pytest.approx([0, 0, 0])
    # the same directions in another order are a frame too, but not that of the means
    assert classes.nc3(simplex(4).roll(1, dims=0)) > 1
    assert classes.nearest(means + 0.1).tolist() == [0, 1, 2, 3]


def by_loops(features, labels, classes):
    """NC1 and NC2 with one matrix product a row, by the definitions."""
    means = {c: features[labels == c].mean(axis=0) for c in range(classes)}
    middle = sum(means.values()) / classes
    apart = [x - means[y] for x, y in zip(features, labels, strict=True)]
    within = sum(np.outer(x, x) for x in apart)
    between = sum(np.outer(means[c] - middle, means[c] - middle) for c in means) / classes
    nc1 = np.trace(np.linalg.pinv(between) @ (within / len(features))) / classes
    gram = np.array([[(means[a] - middle) @ (means[b] - middle) for a in means] for b in means])
    ideal = (np.eye(classes) - 1 / classes) / np.sqrt(classes - 1)
    return nc1, np.linalg.norm(gram / np.linalg.norm(gram) - ideal)


def test_numbers_are_those_of_the_definitions():
    chance = np.random.RandomState(0)
    labels = np.repeat([0, 1, 2], [9, 4, 2])
    features = chance.standard_normal((15, 5)) + 3 * np.eye(5)[labels]
    classes = Classes(torch.from_numpy(features), torch.from_numpy(labels), 3)
    assert [classes.nc1(), classes.nc2()] == pytest.approx(by_loops(features, labels, 3), rel=1e-9)


def test_classes_without_rows_are_passed_over():
    features, labels = torch.randn(6, 3, dtype=torch.float64), torch.tensor([0, 0, 2, 2, 3, 3])
    with_gap = Classes(features, labels, 5)
    assert with_gap.there.tolist() == [0, 2, 3]
    assert set(with_gap.nearest(features).tolist()) <= {0, 2, 3}
    dense = Classes(features, torch.tensor([0, 0, 1, 1, 2, 2]), 3)
    weights = torch.randn(5, 3, dtype=torch.float64)
    assert (with_gap.nc1(), with_gap.nc2()) == (dense.nc1(), dense.nc2())
    assert with_gap.nc3(weights) == dense.nc3(weights[[0, 2, 3]])


def test_the_mean_cosine_by_hand():
    vectors = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    assert mean_cosine(vectors) == pytest.approx((0 + 1 + 0) / 3)
    assert mean_cosine(vectors[:1]) is None


def test_ratios_by_hand():
    fixed = protocol("digits-lt")
    few, many = fixed.scoring.shot_splits
    counts = [many + 1, many, few - 1, 0]
    features = torch.tensor([[4.0, 0.0], [0.0, 1.0], [2.0, 0.0]], dtype=torch.float64)
    weights = torch.tensor([[0.0, 3.0], [9.0, 9.0], [0.0, 1.5], [7.0, 7.0]], dtype=torch.float64)
    tested = torch.tensor([[0.0, 0.1], [4.0, 0.1]], dtype=torch.float64)
    labels = torch.tensor([0, 1, 2])
    found = diagnostics.of_features(features, labels, weights, tested, fixed, counts)
    assert found["weight_ratio"] == 2 and found["mean_ratio"] == 2
    assert found["few_cosine"] is None  # the last class has no training rows
    # weights give both rows to class 1; the means are nearest of classes 1 and 0
    assert found["nc4"] == 0.5


def asking(name, epochs=1):
    given = protocol(name)
    metrics = [given.scoring.metrics[0], *diagnostics.NAMES]
    return structs.replace(
        given,
        budget=structs.replace(given.budget, epochs=epochs),
        scoring=structs.replace(given.scoring, metrics=metrics),
    )


@pytest.mark.parametrize("name", ["digits-lt", "digits-semi-consistent", "digits-domains"])
def test_cells_tell_what_a_protocol_asks_for(name):
    fixed, track = asking(name), installed().track(protocol(name).track)
    (source,) = track.load(installed(), fixed).values()
    outcome = track.run(fixed, recipe("erm"), 0, source, CPU)
    there = {key for key in diagnostics.NAMES if outcome.measures[key] is not None}
    few = name != "digits-domains"  # whose classes are few-shot in one domain or another alone
    assert there == set(diagnostics.NAMES if few else (*diagnostics.NAMES[:4], "update_entropy"))
    unasked = structs.replace(fixed, scoring=protocol(name).scoring)
    plain = track.run(unasked, recipe("erm"), 0, source, CPU)
    assert not set(diagnostics.NAMES) & plain.measures.keys()
    assert (plain.arrays["predicted"] == outcome.arrays["predicted"]).all()


def test_a_network_without_one_linear_classifier_has_none():
    fixed, track = asking("digits-lt"), installed().track("recognition")
    outcome = track.run(fixed, recipe("ride"), 0, built_in()["digits"](), CPU)
    there = {name for name in diagnostics.NAMES if outcome.measures[name] is not None}
    assert there == {"update_entropy"}  # of the trunk, which all its experts share


def test_evenness_by_hand():
    assert evenness(3 * torch.eye(4, dtype=torch.float64)) == pytest.approx(1)
    assert evenness(torch.ones(4, 6)) == pytest.approx(1 / 4)
    shares = [4 / 5, 1 / 5]
    expected = math.exp(-sum(share * math.log(share) for share in shares)) / 2
    assert evenness(torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0]])) == pytest.approx(expected)


def test_an_orthogonalised_update_is_even_and_its_gradient_is_not():
    chance = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(12, 12, generator=chance))[0] for _ in range(2))
    gradient = left @ torch.diag(0.8 ** torch.arange(12.0)) @ right
    assert evenness(gradient) < 0.5
    assert evenness(orthogonalised(gradient)) > 0.92  # whose values lie between about 0.7 and 1.2


def test_what_training_added_is_reckoned_of_matrices_that_were_there():
    start = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 2), torch.nn.Linear(4, 4))
    ended = copy.deepcopy(start)
    with torch.no_grad():
        ended[0].weight += 1
        ended[0].bias += 1
        ended[1].weight += torch.eye(4)
    assert diagnostics.added(ended, start) == pytest.approx((1 / 3 + 1) / 2)
    assert diagnostics.added(copy.deepcopy(start), start) is None
    assert diagnostics.added(ended, torch.nn.Sequential(torch.nn.Linear(5, 5))) is None
    assert diagnostics.added(ended, None) is None
