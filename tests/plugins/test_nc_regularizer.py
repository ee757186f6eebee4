import math

import torch
from torch import nn

from ltbench import Batch, Phase, recipe
from ltbench.contract.context import Output
from ltbench.testing import probe_steps
from ltbench.testing.probes import probe_run

COUNTS = (8, 2, 1)
FEATURES = [[1.0, 0.0], [3.0, 0.0], [0.0, 1.0]]
CENTRES = [[2.0, 0.0], [-1.0, 1.0], [-1.0, -1.0]]
LABELS = [0, 0, 1]


def terms(text, features=FEATURES, centres=CENTRES, targets=None):
    """What the recipe adds to the loss, with its gradients in features and centres."""
    method = recipe(text)
    run = probe_run(method, COUNTS, torch.float64)
    run.model = nn.Module()
    run.model.centres = nn.Parameter(torch.tensor(centres, dtype=torch.float64))
    features = torch.tensor(features, dtype=torch.float64, requires_grad=True)
    targets = targets or [(torch.tensor(LABELS), 1.0)]
    batch = Batch(features, targets, torch.arange(len(targets[0][0])))
    term = method.extra(Output((), features), batch, run)
    term.backward()
    return term.item(), features.grad, run.model.centres.grad


def close(found, expected):
    torch.testing.assert_close(
        found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-9
    )


def test_nc1_is_the_mean_over_classes_of_the_mean_squared_distance_to_the_centre():
    # class 0: (1 + 1) / 2, class 1: 1, class 2 has no row in the batch
    term, slope, centres = terms("nc-regularizer(nc1=0.6, nc2=0.0)")
    assert math.isclose(term, 0.6 * (1 + 1 + 0) / 3)
    close(slope, [[-0.2, 0.0], [0.2, 0.0], [0.4, 0.0]])  # 0.6 / 3 * 2 (h - mu) / rows
    close(centres, [[0.0, 0.0], [-0.4, 0.0], [0.0, 0.0]])


def test_nc2_is_minus_the_mean_smallest_angle_between_centres_seen_from_their_mean():
    # the mean is 0; the last two stand at 90 degrees, both at 135 from the first
    term, slope, centres = terms("nc-regularizer(nc1=0.0, nc2=1.0)")
    nearest = [3 / 4 * math.pi, math.pi / 2, math.pi / 2]
    assert math.isclose(term, -sum(nearest) / 3, rel_tol=1e-12)
    assert slope.abs().max() == 0  # features do not learn from the angles
    assert torch.isfinite(centres).all() and centres.abs().max() > 0


def test_the_gradient_of_nc2_is_that_of_the_differences():
    centres = [[2.0, 0.3], [-1.0, 1.5], [-0.6, -1.0]]
    _, _, slope = terms("nc-regularizer(nc1=0.0, nc2=1.0)", centres=centres)
    step, numbers = 1e-6, []
    for c in range(3):
        for d in range(2):
            sides = []
            for sign in (1, -1):
                moved = [row.copy() for row in centres]
                moved[c][d] += sign * step
                sides.append(terms("nc-regularizer(nc1=0.0, nc2=1.0)", centres=moved)[0])
            numbers.append((sides[0] - sides[1]) / (2 * step))
    torch.testing.assert_close(
        slope.flatten(), torch.tensor(numbers, dtype=torch.float64), rtol=0, atol=1e-8
    )


def test_centres_that_coincide_and_centres_that_are_opposite_have_a_finite_slope():
    for centres in ([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [-1.0, 0.0]]):
        term, _, slope = terms("nc-regularizer", centres=centres)
        assert math.isfinite(term)
        assert torch.isfinite(slope).all()


def test_of_mixed_rows_each_label_pulls_in_its_share():
    first, second = torch.tensor(LABELS), torch.tensor([1, 2, 1])
    mixed = terms("nc-regularizer", targets=[(first, 0.7), (second, 0.3)])[0]
    apart = [terms("nc-regularizer", targets=[(y, 1.0)])[0] for y in (first, second)]
    assert math.isclose(mixed, 0.7 * apart[0] + 0.3 * apart[1], rel_tol=1e-12)


def test_further_views_behind_the_labelled_rows_do_not_count():
    more = [*FEATURES, [100.0, 100.0]]
    assert terms("nc-regularizer", features=more)[0] == terms("nc-regularizer")[0]


class Direct(nn.Module):
    """A network whose features are its inputs."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(2, 3)

    def features(self, x):
        return x


def test_centres_move_at_their_own_rate_of_the_gradient_over_nc1():
    batches = [(torch.tensor(FEATURES, dtype=torch.float64), torch.tensor(LABELS))] * 2
    states = probe_steps(
        "nc-regularizer(nc2=0.0)", Direct().double(), batches, COUNTS, 0.1, 0.9, 0.1
    )
    before, after = (state["centres"] for state in states)
    means = torch.tensor([[2.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    # neither momentum nor decay: each step goes 0.5 * 2 / 3 of the way to the mean of the rows
    torch.testing.assert_close(after[:2], before[:2] + (means - before[:2]) / 3)
    assert torch.equal(after[2], before[2])


def test_all_but_the_centres_follow_the_phase():
    method = recipe("nc-regularizer")
    phase = Phase("main", 1, 0.1, 5e-4)
    run = probe_run(method, COUNTS, torch.float32, phase=phase)
    model = method.build(Direct(), run)
    groups = method.optimizer(model, run).param_groups
    assert [(len(g["params"]), g["lr"], g["weight_decay"]) for g in groups] == [
        (2, 0.1, 5e-4),
        (1, 50.0, 0),
    ]
