"""What the released code computes, worked out with numpy and differences of a thousandth."""

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import nn

from ltbench import LTBenchError, recipe
from ltbench.testing.task import rows_of
from ltbench.tracks.distillation.checks import BUDGET, COUNTS, distilled
from ltbench_plugins.distillation import lad
from ltbench_plugins.distillation.lad import follow, nearest

IMAGES = np.array([[0.5, -1.0], [2.0, 0.3], [-0.4, 0.8]])
LABELS, SHARES, RATE = [0, 1, 1], np.array([0.75, 0.25, 0.25]), 0.3
BEGIN = {
    "trunk.weight": np.array([[0.2, -0.1], [0.4, 0.3]]),
    "head.weight": np.array([[0.5, 0.1], [-0.2, 0.6]]),
}
GOAL = {
    "trunk.weight": np.array([[0.5, -0.3], [0.1, 0.7]]),
    "head.weight": np.array([[0.9, -0.2], [-0.6, 0.4]]),
}
STAGES = {"first": (False, ["trunk.weight"], SHARES), "second": (True, ["head.weight"], np.ones(3))}


class Linear(nn.Module):
    """Two matrices, one after the other."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Linear(2, 2, bias=False, dtype=torch.float64)
        self.head = nn.Linear(2, 2, bias=False, dtype=torch.float64)

    def forward(self, x):
        return self.head(self.trunk(x))


def slopes_by_hand(parameters, images, weights, head_alone):
    """Those of the mean weighed cross-entropy by both matrices; a resting one has none."""
    trunk, head = parameters.values()
    hidden = images @ trunk.T
    powers = np.exp(hidden @ head.T)
    off = powers / powers.sum(axis=1, keepdims=True) - np.eye(2)[LABELS]
    off = off * weights[:, None] / len(images)
    of_trunk = np.zeros_like(trunk) if head_alone else (off @ head).T @ images
    return {"trunk.weight": of_trunk, "head.weight": off.T @ hidden}


def walked_by_hand(batches, weights, head_alone):
    """Where a student stands before each step, and the sum of the slopes."""
    here, stops = BEGIN, []
    total = {name: np.zeros_like(value) for name, value in BEGIN.items()}
    for images in batches:
        stops.append(here)
        slopes = slopes_by_hand(here, images, weights, head_alone)
        here = {name: here[name] - RATE * slopes[name] for name in here}
        total = {name: total[name] + slopes[name] for name in here}
    return here, stops, total


def dot(one, other, names):
    return sum((one[name] * other[name]).sum() for name in names)


def minus(one, other):
    return {name: one[name] - other[name] for name in one}


def followed(batches, stage, scale=1.0):
    """The mismatch, the slopes of the images of each batch, and that of the rate."""
    head_alone, _, weights = STAGES[stage]
    given = [torch.tensor(images, requires_grad=True) for images in batches]
    rate = torch.tensor(RATE, dtype=torch.float64, requires_grad=True)
    beside = torch.tensor(LABELS), torch.tensor(weights)
    begin, goal = ({name: torch.tensor(x) for name, x in of.items()} for of in (BEGIN, GOAL))
    told = [(images, *beside) for images in given]
    found = follow(Linear(), begin, goal, told, rate, scale, head_alone)
    return found.item(), [images.grad.numpy() for images in given], rate.grad.item()


@pytest.mark.parametrize("stage", STAGES)
def test_the_mismatch_is_the_rest_of_the_way_of_what_the_stage_compares(stage):
    head_alone, names, weights = STAGES[stage]
    batches = [IMAGES, IMAGES[::-1].copy(), IMAGES + 0.1]
    end, _, _ = walked_by_hand(batches, weights, head_alone)
    off, way = minus(end, GOAL), minus(BEGIN, GOAL)
    expected = dot(off, off, names) / dot(way, way, names)
    assert followed(batches, stage)[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("stage", STAGES)
def test_each_steps_images_learn_from_that_step_by_itself(stage):
    """2 (r (goal - begin) + r^2 sum of slopes) . slope_i / way, as the code has it."""
    head_alone, names, weights = STAGES[stage]
    batches = [IMAGES, IMAGES[::-1].copy(), IMAGES + 0.1]
    _, stops, total = walked_by_hand(batches, weights, head_alone)
    way = minus(GOAL, BEGIN)
    ahead = {name: RATE * way[name] + RATE**2 * total[name] for name in way}
    _, found, _ = followed(batches, stage, scale=0.7)
    for stop, images, slopes in zip(stops, batches, found, strict=True):

        def term(x, stop=stop):
            own = slopes_by_hand(stop, x, weights, head_alone)
            return 0.7 * 2 * dot(ahead, own, names) / dot(way, way, names)

        for place in np.ndindex(images.shape):
            nudge = np.zeros_like(images)
            nudge[place] = 1e-3
            by_hand = (term(images + nudge) - term(images - nudge)) / 2e-3
            assert slopes[place] == pytest.approx(by_hand, abs=1e-6)
        assert (slopes != 0).all()


@pytest.mark.parametrize("stage", STAGES)
def test_the_rate_learns_with_the_slopes_held(stage):
    head_alone, names, weights = STAGES[stage]
    end, _, total = walked_by_hand([IMAGES] * 3, weights, head_alone)
    off, way = minus(end, GOAL), minus(BEGIN, GOAL)
    expected = -2 * dot(off, total, names) / dot(way, way, names)
    assert followed([IMAGES] * 3, stage)[2] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("classes", "factor", "ipc", "weights"),
    [
        (10, 200, 10, (0.1, 1)),
        (10, 100, 10, (0.5, 1)),
        (10, 100, 20, (0.5, 1)),
        (10, 100, 50, (1, 0.5)),
        (10, 50, 10, (1, 0.5)),
        (10, 50, 50, (0.5, 1)),
        (10, 10, 20, (1, 0.2)),
        (10, 20, 5, (1, 0.2)),  # nearer to 10 than to 50, as a ratio
        (10, 1, 1, (1, 0.2)),
        (100, 100, 10, (1, 0.1)),
        (200, 20, 50, (1, 0.1)),
    ],
)
def test_stages_weigh_as_in_the_nearest_released_configuration(classes, factor, ipc, weights):
    assert nearest(classes, factor, ipc) == weights


@pytest.fixture
def told(monkeypatch):
    """What each call of `follow` was given, and the mismatch that it gave."""
    calls = []

    def watched(*given, head_alone):
        found = follow(*given, head_alone=head_alone)
        calls.append((given, head_alone, found.item()))
        return found

    monkeypatch.setattr(lad, "follow", watched)
    return calls


def test_the_first_student_is_weighed_by_shares_and_the_second_by_nothing(told):
    rows = rows_of(COUNTS)
    made = distilled(recipe("lad(steps=1)"), rows, replace(BUDGET, iterations=1))
    (first, alone, _), (second, alone_too, _) = told
    shares = torch.tensor(COUNTS) / sum(COUNTS)
    torch.testing.assert_close(first[3][0][2].sort().values, shares[made.labels].sort().values)
    assert (second[3][0][2] == 1).all()
    assert (alone, alone_too) == (False, True)
    assert (first[5], second[5]) == (1, 0.2)  # factor 6 is nearest to 10
    told.clear()
    text = "lad(steps=1, weighted=False, backbone=0.3, classifier=0.4)"
    distilled(recipe(text), rows, replace(BUDGET, iterations=1))
    assert all((given[3][0][2] == 1).all() for given, _, _ in told)
    assert [given[5] for given, _, _ in told] == [0.3, 0.4]


def test_a_classifiers_way_begins_where_its_expert_ends_and_the_backbone_rests(monkeypatch):
    found, paths = [], lad.LAD.paths
    monkeypatch.setattr(lad.LAD, "paths", lambda *given: found.append(paths(*given)) or found[-1])
    distilled(recipe("lad(steps=1)"), rows_of(COUNTS), replace(BUDGET, epochs=3, networks=2))
    assert [(len(tail), len(head)) for tail, head in found] == [(4, 3), (4, 3)]
    for tail, head in found:
        assert all(torch.equal(tail[-1][name], head[0][name]) for name in head[0])
        for name in head[0]:
            moved = not torch.equal(head[0][name], head[-1][name])
            assert moved == name.startswith("head.")
            assert not torch.equal(tail[0][name], tail[-1][name])


def test_students_start_at_points_of_a_path_that_lie_epochs_apart(told):
    budget = replace(BUDGET, epochs=4, networks=1, iterations=12)
    distilled(recipe("lad(steps=1)"), rows_of(COUNTS), budget)
    first = [given[1] for given, head_alone, _ in told if not head_alone]
    second = [given[1] for given, head_alone, _ in told if head_alone]
    assert len({id(begin) for begin in first}) == 3  # of 0 to 2, as 4 is the last
    assert len({id(begin) for begin in second}) == 1


@pytest.mark.parametrize(("without", "stage"), [("classifier", False), ("backbone", True)])
def test_the_mismatch_of_each_stage_falls(told, without, stage):
    text = f"lad(steps=10, lr=0.1, images=5.0, {without}=0.0)"
    budget = replace(BUDGET, iterations=60, networks=1, epochs=2)
    distilled(recipe(text), rows_of(COUNTS), budget)
    seen = [found for _, head_alone, found in told if head_alone == stage]
    assert sum(seen[-10:]) < 0.97 * sum(seen[:10])


def test_wrong_parameters_are_refused_in_a_line():
    with pytest.raises(LTBenchError, match="steps=0 is refused: expected int >= 1"):
        recipe("lad(steps=0)")
    with pytest.raises(LTBenchError, match="backbone=-1.0 is refused: expected float >= 0"):
        recipe("lad(backbone=-1.0)")
