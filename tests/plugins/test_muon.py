import pytest
import torch
import torch.nn.functional as F
from by_hand import COUNTS
from torch import nn

from ltbench import Phase, recipe
from ltbench.testing import probe_steps
from ltbench.testing.probes import probe_run
from ltbench_plugins.optimizers.muon import orthogonalised


class Small(nn.Module):
    """A hidden layer and a linear head."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 6)
        self.head = nn.Linear(6, 3)
        self.double()

    def features(self, x):
        return self.body(x).tanh()

    def forward(self, x):
        return self.head(self.features(x))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Small()


@pytest.fixture
def batches():
    chance = torch.Generator().manual_seed(0)
    return [
        (torch.randn(8, 4, generator=chance).double(), torch.randint(3, (8,), generator=chance))
        for _ in range(3)
    ]


def curve(values):
    """Five Newton-Schulz steps on singular values, which is what they do to a matrix."""
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return values


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (1, 3)])
def test_singular_vectors_stay_and_singular_values_follow_the_polynomial(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1)).double()
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    expected = u @ torch.diag(curve(s / s.norm())) @ v
    torch.testing.assert_close(orthogonalised(matrix), expected, rtol=0, atol=1e-9)


def test_singular_values_come_near_one():
    matrix = torch.randn(32, 64, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonalised(matrix))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_hidden_matrices_go_by_muon_and_the_rest_by_sgd(model, batches):
    lr, rate, decay, momentum = 0.1, 0.02, 0.01, 0.95
    text = f"muon(weight_decay={decay})"
    states = probe_steps(text, model, batches, COUNTS, lr, momentum=0.9, weight_decay=0.001)
    matrix, buffer = model.body.weight, torch.zeros(6, 4).double()
    others = [p for p in model.parameters() if p is not matrix]
    sgd = torch.optim.SGD(others, lr, momentum=0.9, weight_decay=0.001)
    for (x, y), state in zip(batches, states, strict=True):
        model.zero_grad()
        F.cross_entropy(model(x), y).backward()
        buffer = momentum * buffer + (1 - momentum) * matrix.grad
        u, s, v = torch.linalg.svd(
            momentum * buffer + (1 - momentum) * matrix.grad, full_matrices=False
        )
        way = u @ torch.diag(curve(s / s.norm())) @ v
        with torch.no_grad():
            matrix.copy_((1 - rate * decay) * matrix - rate * (6 / 4) ** 0.5 * way)
        sgd.step()
        for name, p in model.state_dict().items():
            torch.testing.assert_close(state[name], p, rtol=0, atol=1e-9)


def test_matrices_move_as_under_torch_s_own_muon_up_to_its_bfloat16(model, batches):
    states = probe_steps("muon", model, batches, COUNTS, 0.1)
    theirs = torch.optim.Muon([model.body.weight], lr=0.02, weight_decay=0.0)
    sgd = torch.optim.SGD([p for p in model.parameters() if p is not model.body.weight], 0.1)
    start = model.body.weight.detach().clone()
    for x, y in batches:
        model.zero_grad()
        F.cross_entropy(model(x), y).backward()
        theirs.step()
        sgd.step()
    distance = (states[-1]["body.weight"] - model.body.weight).norm()
    assert distance < 0.05 * (model.body.weight - start).norm()


def test_adamw_can_take_the_rest(model, batches):
    states = probe_steps("muon(rest='adamw')", model, batches, COUNTS, 0.1)
    matrix, before = model.body.weight, model.head.weight.detach().clone()
    others = [p for p in model.parameters() if p is not matrix]
    adamw = torch.optim.AdamW(others, 3e-4, betas=(0.9, 0.95), eps=1e-10, weight_decay=0)
    for (x, y), state in zip(batches, states, strict=True):
        model.zero_grad()
        F.cross_entropy(model(x), y).backward()
        adamw.step()
        with torch.no_grad():
            matrix.copy_(state["body.weight"])
        torch.testing.assert_close(state["head.weight"], model.head.weight.detach())
    assert (model.head.weight - before).abs().max() < 1e-3  # the protocol's rate has no part in it


def test_a_convolution_moves_as_its_flattened_matrix():
    muon = recipe("muon")
    model = nn.Module()
    model.conv = nn.Conv2d(3, 4, 3, bias=False)
    model.head = nn.Linear(4, 3)
    run = probe_run(muon, COUNTS, torch.float32, phase=Phase("main", 1, 0.1, 0.0))
    optimizer = muon.optimizer(model, run)
    before = model.conv.weight.detach().clone()
    slope = torch.randn(before.shape, generator=torch.Generator().manual_seed(0))
    model.conv.weight.grad = slope.contiguous(memory_format=torch.channels_last)
    optimizer.step()
    way = (before - model.conv.weight.detach()).flatten(1) / 0.02  # 4 rows, 27 columns: factor 1
    torch.testing.assert_close(way, orthogonalised(slope.flatten(1)), rtol=0, atol=1e-4)


def test_a_gradient_of_zero_moves_nothing(model):
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.tensor([1000.0, 0.0, 0.0]))
    state = probe_steps(
        "muon", model, [(torch.ones(1, 4).double(), torch.tensor([0]))], COUNTS, 0.1
    )
    assert torch.equal(state[0]["body.weight"], model.body.weight)


def test_a_network_that_is_its_head_trains_by_sgd(batches):
    model = nn.Module()
    model.head = nn.Linear(4, 3).double()
    model.features = nn.Identity()
    ours = probe_steps("muon", model, batches, COUNTS, 0.1, momentum=0.9)[-1]
    plain = probe_steps("erm", model, batches, COUNTS, 0.1, momentum=0.9)[-1]
    torch.testing.assert_close(ours["head.weight"], plain["head.weight"])
