"""FRACAL: its released code's numbers, dimensions worked by hand, and what it must leave alone."""

import math
from statistics import NormalDist
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from oracles import oracle
from torch.func import jacrev

from ltbench import recipe
from ltbench.testing import check_method
from ltbench.tracks.detection.boxes import Boxes
from ltbench.tracks.detection.contract import DetectionGrants
from ltbench.tracks.detection.stored import Facts
from ltbench.tracks.detection.track import Told, acting
from ltbench_plugins.detection.fracal import (
    FRACAL,
    both,
    fractal_dimensions,
    frequency_weights,
    occupied,
)

EVEN = [(x / 8 + 1 / 16, y / 8 + 1 / 16) for x in range(8) for y in range(8)]


def granted(head="softmax", images=(50, 12, 4), locations=None, labels=None, pictures=100):
    """Facts of three classes: one that lies evenly, one on a line, one with a few boxes."""
    line = [(k / 16 + 1 / 32,) * 2 for k in range(16)]
    places = EVEN + line + [(0.5, 0.5)] * 4 if locations is None else locations
    told = [0] * 64 + [1] * 16 + [2] * 4 if labels is None else labels
    return DetectionGrants(
        head=head,
        locations=torch.tensor(places, dtype=torch.float64),
        labels=torch.tensor(told),
        images=torch.tensor(images),
        pictures=pictures,
    )


def seen(**given):
    return SimpleNamespace(granted=granted(**given))


def logits(classes=4, rows=6):
    chance = torch.Generator().manual_seed(0)
    return 2 * torch.randn(rows, classes, generator=chance, dtype=torch.float64)


def with_dimensions(monkeypatch, values):
    found = torch.tensor(values, dtype=torch.float64)
    monkeypatch.setattr("ltbench_plugins.detection.fracal.fractal_dimensions", lambda *given: found)


def of_oracle(told, head):
    classes = len(told["image_frequency"])
    return SimpleNamespace(
        granted=DetectionGrants(
            head=head,
            locations=torch.zeros(1, 2),
            labels=torch.zeros(1, dtype=torch.int64),
            images=torch.tensor(told["image_frequency"]),
            pictures=told["images"],
        )
    ), classes


def test_class_weights_are_those_of_released_code():
    told = oracle("fracal_scores")
    run, classes = of_oracle(told, "softmax")
    found = frequency_weights(run.granted, "base10", "images")
    assert found.tolist() == pytest.approx(told["class_weights"][:classes], abs=1e-12)


@pytest.mark.parametrize("lam", ["0.0", "1.0", "2.0"])
def test_a_softmax_head_is_that_of_released_code(monkeypatch, lam):
    told = oracle("fracal_scores")
    run, classes = of_oracle(told, "softmax")
    with_dimensions(monkeypatch, told["fractal_dimension_with_background"][:classes])
    scores = torch.tensor(told["logits_background_last"], dtype=torch.float64)
    found = FRACAL(lam=float(lam)).scores(scores, run).softmax(dim=1)
    assert np.allclose(found, told["softmax_head"][lam], atol=1e-7)


@pytest.mark.parametrize("lam", ["1.0", "2.0"])
def test_a_sigmoid_head_is_that_of_released_code(monkeypatch, lam):
    told = oracle("fracal_scores")
    run, classes = of_oracle(told, "sigmoid")
    with_dimensions(monkeypatch, told["fractal_dimension_with_background"][:classes])
    scores = torch.tensor(told["logits_background_last"], dtype=torch.float64)[:, :classes]
    found = FRACAL(lam=float(lam)).scores(scores, run).sigmoid()
    assert np.allclose(found, told["sigmoid_head"][lam], atol=1e-7)


# The three classes are in 50, 12 and 4 of 100 pictures; an even share is a third.
BY_HAND = {
    "base10": [math.log10(p * 3) * -1 for p in (0.5, 0.12, 0.04)],
    "natural": [-math.log(p * 3) for p in (0.5, 0.12, 0.04)],
    "base2": [-math.log2(p * 3) for p in (0.5, 0.12, 0.04)],
    "logit": [math.log((1 - p) / p / 2) for p in (0.5, 0.12, 0.04)],
    "normit": [NormalDist().inv_cdf(1 / 3) - NormalDist().inv_cdf(p) for p in (0.5, 0.12, 0.04)],
    "gombit": [math.log(-math.log(2 / 3)) - math.log(-math.log(1 - p)) for p in (0.5, 0.12, 0.04)],
}


@pytest.mark.parametrize("link", BY_HAND)
def test_links_of_shares_are_worked_by_hand(link):
    found = frequency_weights(granted(), link, "images")
    assert found.tolist() == pytest.approx(BY_HAND[link], abs=1e-9)


def test_shares_of_boxes_take_the_place_of_those_of_pictures():
    found = frequency_weights(granted(), "natural", "boxes")
    assert found.tolist() == pytest.approx([-math.log(3 * n / 84) for n in (64, 16, 4)])


@pytest.mark.parametrize("link", BY_HAND)
def test_a_class_in_no_picture_or_in_all_has_a_finite_weight(link):
    found = frequency_weights(granted(images=(100, 1, 0)), link, "images")
    assert found.isfinite().all() and found[1] == found[2]
    assert found[0] < found[1]


def test_places_on_a_lattice_have_dimension_two_and_on_a_line_one():
    told = granted()
    assert occupied(told.locations, told.labels, 3, 4).tolist() == [16, 4, 1]
    found = fractal_dimensions(told.locations, told.labels, 3)
    assert found.tolist() == pytest.approx([2.0, 1.0, 1.0])
    assert found.dtype == torch.float64


def slowly(locations, labels, classes):
    """Box counting with loops, by polyfit."""
    found = []
    for c in range(classes):
        places = [place for place, label in zip(locations, labels, strict=True) if label == c]
        grids = [g for g in range(1, 65) if g * g <= len(places)]
        if len(places) < 4:
            found.append(1.0)
            continue
        cells = [
            len({(int(x * g), int(y * g)) for x, y in places if x < 1 and y < 1}) for g in grids
        ]
        slope = np.polyfit(np.log(grids), np.log(cells), 1)[0]
        found.append(max(slope, 1.0))
    return found


def test_dimensions_are_those_of_a_slow_count():
    chance = np.random.RandomState(0)
    counts = [5000, 700, 90, 16, 4, 3, 0]
    labels = np.repeat(np.arange(7), counts)
    places = chance.rand(len(labels), 2)
    near = labels % 2 == 1
    places[near] = (0.4 + 0.06 * chance.randn(near.sum(), 2)).clip(0, 0.999)
    found = fractal_dimensions(torch.tensor(places), torch.tensor(labels), 7)
    assert found.tolist() == pytest.approx(slowly(places, labels, 7), abs=1e-9)
    assert found[0] > 1.9 > found[1] and found[5:].tolist() == [1.0, 1.0]


def test_a_place_at_the_border_is_in_no_cell():
    places = torch.tensor([[0.1, 0.1], [1.0, 0.9], [0.9, 0.9], [0.2, 1.0]])
    assert occupied(places, torch.zeros(4, dtype=torch.int64), 1, 2).tolist() == [2]


def test_without_frequency_and_dimension_a_softmax_stays_as_it_is():
    scores = logits()
    assert torch.equal(FRACAL(lam=0.0, link=None).scores(scores, seen()), scores)


def test_equal_dimensions_leave_the_frequency_alone(monkeypatch):
    scores, plain = logits(), FRACAL(lam=0.0).scores(logits(), seen())
    with_dimensions(monkeypatch, [1.0, 1.0, 1.0])
    assert torch.allclose(FRACAL(lam=2.0).scores(scores, seen()), plain)
    with_dimensions(monkeypatch, [1.7, 1.7, 1.7])
    both_heads = FRACAL(lam=2.0).scores(scores[:, :3], seen(head="sigmoid"))
    alone = FRACAL(lam=0.0).scores(scores[:, :3], seen(head="sigmoid"))
    assert torch.allclose(both_heads, alone)


def test_the_background_changes_by_normalising_alone():
    scores = logits()
    found = FRACAL().scores(scores, seen())
    assert torch.equal(found[:, 3], scores[:, 3])
    before, after = scores.softmax(dim=1), found.softmax(dim=1)
    dimension = torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64)
    factor = (frequency_weights(granted(), "base10", "images").exp() / dimension**2) - 1
    total = 1 + (before[:, :3] * factor).sum(dim=1)
    assert torch.allclose(after[:, 3], before[:, 3] / total)


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_each_probability_rises_with_its_own_score(head):
    scores = logits(4 if head == "softmax" else 3)

    def chances(z):
        found = FRACAL().scores(z[None], seen(head=head))[0]
        return found.softmax(dim=0) if head == "softmax" else found.sigmoid()

    for row in scores:
        slopes = jacrev(chances)(row)
        assert (slopes.diagonal() > 0).all()
        others = slopes - torch.diag(slopes.diagonal())
        assert (others <= 1e-15).all()


def test_a_product_of_sigmoids_is_finite_far_out_and_has_a_slope():
    first = torch.tensor([-80.0, -3.0, 0.5, 60.0], dtype=torch.float64, requires_grad=True)
    second = torch.tensor([-90.0, 2.0, 0.5, 70.0], dtype=torch.float64)
    found = both(first, second)
    assert found.isfinite().all()
    wanted = first.sigmoid() * second.sigmoid()
    assert torch.allclose(found[1:3].sigmoid(), wanted[1:3])
    assert found[0].item() == pytest.approx(-170.0)
    assert found[3].item() == pytest.approx(60.0, abs=1e-4)
    found.sum().backward()
    assert first.grad.isfinite().all() and first.grad[0].item() == pytest.approx(1.0)


def test_what_is_rare_or_lies_around_a_point_rises():
    scores = torch.zeros(1, 4, dtype=torch.float64)
    found = FRACAL().scores(scores, seen()).softmax(dim=1)[0]
    assert found[2] > found[1] > found[3] > found[0]
    by_place = FRACAL(link=None).scores(scores, seen()).softmax(dim=1)[0]
    assert torch.allclose(by_place, torch.tensor([1 / 13, 4 / 13, 4 / 13, 4 / 13]).double())


def facts():
    told = granted()
    images = told.images.numpy()
    return Facts(told.locations.numpy(), told.labels.numpy(), images, told.pictures)


def test_the_natural_link_of_boxes_is_posthoc_logit_adjustment():
    run = acting(Told("softmax", facts()), 3, 0, torch.device("cpu"))
    scores = logits()
    mine = FRACAL(lam=0.0, link="natural", of="boxes").scores(scores, run).softmax(dim=1)
    other = recipe("posthoc-logit-adjustment").scores(scores, run).softmax(dim=1)
    assert torch.allclose(mine, other, atol=1e-6)


def test_a_prior_corrected_twice_is_told():
    both_ways = recipe("fracal+posthoc-logit-adjustment")
    assert both_ways.warnings == ["fracal and posthoc-logit-adjustment both correct the prior"]


@pytest.mark.parametrize("text", ["fracal", "fracal(link=None)", "fracal(of='boxes')"])
def test_the_checks_pass(text):
    assert check_method(recipe(text)).passed


def test_boxes_tell_their_centres_and_pictures():
    boxes = Boxes(
        np.array([0, 0, 1]),
        np.array([[0, 0, 4, 2], [2, 2, 4, 4], [0, 0, 10, 20.0]]),
        np.array([1, 1, 0]),
    )
    sizes = np.array([[8.0, 4.0], [10.0, 20.0]])
    assert boxes.centres(sizes).tolist() == [[0.25, 0.25], [0.375, 0.75], [0.5, 0.5]]
    assert boxes.images(3).tolist() == [1, 1, 0]
    assert boxes.counts(3).tolist() == [1, 2, 0]
