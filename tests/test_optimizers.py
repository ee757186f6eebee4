import copy

import pytest
import torch
from torch import nn

from ltbench.contract.optimizers import SGD


def pair(**settings):
    """Torch's optimizer and ours on networks that are alike."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3), nn.Linear(3, 2))
    twin = copy.deepcopy(model)
    theirs = torch.optim.SGD(model.parameters(), lr=0.1, fused=True, **settings)
    return model, theirs, twin, SGD(twin.parameters(), lr=0.1, **settings)


def step(model, optimizer, lr, frozen=None):
    optimizer.param_groups[0]["lr"] = lr
    optimizer.zero_grad()
    model(torch.arange(15.0).reshape(3, 5) / 15).square().mean().backward()
    if frozen is not None:
        model[frozen].weight.grad = None
    optimizer.step()


def equal(one, other):
    return all(map(torch.equal, one.parameters(), other.parameters()))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-2},
        {"momentum": 0.9, "dampening": 0.5},
        {"maximize": True},
    ],
    ids=str,
)
def test_it_steps_as_torch_does_to_the_bit(settings):
    model, theirs, twin, ours = pair(**settings)
    before = copy.deepcopy(twin)
    for k in range(5):
        step(model, theirs, 0.1 / (k + 1), frozen=1)
        step(twin, ours, 0.1 / (k + 1), frozen=1)
        assert equal(model, twin)
    assert torch.equal(before[1].weight, twin[1].weight)
    assert not torch.equal(before[0].weight, twin[0].weight)


def test_torch_and_it_read_each_others_state():
    model, theirs, twin, ours = pair(momentum=0.9)
    step(model, theirs, 0.1)
    twin.load_state_dict(model.state_dict())
    ours.load_state_dict(copy.deepcopy(theirs.state_dict()))
    step(model, theirs, 0.1)
    step(twin, ours, 0.1)
    assert equal(model, twin)
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
    step(model, theirs, 0.1)
    step(twin, ours, 0.1)
    assert equal(model, twin)


def test_a_first_gradient_may_come_after_those_of_others():
    _, _, twin, ours = pair(momentum=0.9)
    step(twin, ours, 0.1, frozen=1)
    before = twin[1].weight.detach().clone()
    step(twin, ours, 0.1)
    assert torch.allclose(before - 0.1 * twin[1].weight.grad, twin[1].weight)


def test_gradients_may_be_kept_at_zero():
    model, _, twin, ours = pair()
    step(twin, ours, 0.1)
    ours.zero_grad(set_to_none=False)
    assert all((p.grad == 0).all() for p in twin.parameters())
    ours.zero_grad()
    assert all(p.grad is None for p in twin.parameters())
