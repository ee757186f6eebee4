import pytest
import torch
from of_incremental import float64, run_of
from released_incremental import (
    EWC_BIAS,
    EWC_FISHER_BIAS,
    EWC_FISHER_WEIGHT,
    EWC_LABELS,
    EWC_MOVED_BIAS,
    EWC_MOVED_WEIGHT,
    EWC_PENALTY,
    EWC_ROWS,
    EWC_WEIGHT,
)
from torch import nn

from ltbench import Rows
from ltbench_plugins.incremental.ewc import fisher, pull


class Linear(nn.Module):
    """The released function's network: a linear head on its inputs."""

    def __init__(self, weight=EWC_WEIGHT, bias=EWC_BIAS):
        super().__init__()
        self.head = nn.Linear(3, len(weight)).double()
        with torch.no_grad():
            self.head.weight.copy_(float64(weight))
            self.head.bias.copy_(float64(bias))

    def features(self, x):
        return x


ROWS = Rows(float64(EWC_ROWS), torch.tensor(EWC_LABELS))
BATCHES = torch.arange(8).split(4)


def test_information_and_pull_are_those_of_the_released_code():
    _, run = run_of("ewc")
    run.model = Linear()
    found = {name: value.clamp(max=1e-4) for name, value in fisher(run, ROWS, BATCHES).items()}
    close = dict(rtol=0, atol=1e-9)
    torch.testing.assert_close(found["head.weight"], float64(EWC_FISHER_WEIGHT), **close)
    torch.testing.assert_close(found["head.bias"], float64(EWC_FISHER_BIAS), **close)
    anchor = {name: value.detach() for name, value in run.model.named_parameters()}
    moved = dict(Linear(EWC_MOVED_WEIGHT, EWC_MOVED_BIAS).named_parameters())
    assert pull(moved, anchor, found).item() == pytest.approx(EWC_PENALTY, rel=1e-5)


def test_information_is_the_mean_over_batches_of_squared_mean_gradients():
    _, run = run_of("ewc")
    run.model = Linear()
    found, expected = fisher(run, ROWS, BATCHES)["head.weight"], torch.zeros(4, 3).double()
    for some in BATCHES:
        x, y = ROWS.inputs[some], ROWS.labels[some]
        p = run.model.head(x).softmax(1).detach()
        slope = (p - nn.functional.one_hot(y, 4)).T @ x / len(some)
        expected += slope.square() / len(BATCHES)
    torch.testing.assert_close(found, expected)
    assert (found >= 0).all()


def test_the_pull_and_its_slope_are_nothing_at_the_anchor():
    weights = dict(Linear().named_parameters())
    anchor = {name: value.detach().clone() for name, value in weights.items()}
    force = {name: torch.ones_like(value) for name, value in anchor.items()}
    loss = pull(weights, anchor, force)
    loss.backward()
    assert loss.item() == 0
    assert all((value.grad == 0).all() for value in weights.values())


def test_grown_rows_are_free():
    anchor = {"w": float64([[1.0], [2.0]])}
    weights = {"w": float64([[2.0], [2.0], [9.0]]).requires_grad_()}
    loss = pull(weights, anchor, {"w": float64([[4.0], [1.0], [7.0]])})
    loss.backward()
    assert loss.item() == 2.0
    assert weights["w"].grad.tolist() == [[4.0], [0.0], [0.0]]


def test_information_of_two_tasks_is_mixed_by_their_classes():
    method, run = run_of("ewc(largest=1e9)", old=1)
    run.model = Linear()
    own = method.methods[0]
    own.fisher = {"head.weight": float64([[8.0] * 3]), "head.bias": float64([8.0])}
    own.anchor = {}
    assert method.methods[0].remember(ROWS, 4, run).numel() == 0
    whole = fisher(run, ROWS, [torch.arange(8)])["head.weight"]
    torch.testing.assert_close(own.fisher["head.weight"][0], 0.25 * 8 + 0.75 * whole[0])
    torch.testing.assert_close(own.fisher["head.weight"][1:], whole[1:])
