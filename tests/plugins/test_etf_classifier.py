import pytest
import torch
import torch.nn.functional as F
from by_hand import COUNTS, LABELS, SCORES, assert_loss, tensors
from torch import nn

from ltbench import recipe
from ltbench.testing import probe_loss, probe_steps
from ltbench.testing.probes import probe_run
from ltbench.testing.task import trained
from ltbench.training.engine import scored


def head(width, num_classes, seed=0):
    torch.manual_seed(seed)
    model = nn.Module()
    model.head = nn.Linear(width, num_classes).double()
    etf = recipe("etf-classifier")
    run = probe_run(etf, [5] * num_classes, torch.float64)
    return etf.build(model, run).head, run


@pytest.mark.parametrize(("width", "num_classes"), [(2, 2), (10, 10), (64, 10), (16, 100)])
def test_classes_stand_at_equal_angles_and_have_length_1(width, num_classes):
    frame = head(width, num_classes)[0].frame
    expected = -torch.ones(num_classes, num_classes, dtype=torch.float64) / (num_classes - 1)
    torch.testing.assert_close(frame.T @ frame, expected.fill_diagonal_(1), rtol=0, atol=1e-12)


def test_the_frame_is_drawn_afresh_for_each_seed_but_never_learns():
    first, second = head(8, 3, seed=0)[0], head(8, 3, seed=1)[0]
    assert not torch.allclose(first.frame, second.frame)
    assert "frame" not in dict(first.named_parameters())
    states = []
    trained(
        recipe("etf-classifier"), checkpoint=lambda s: states.append(s["model"]["head.frame"] + 0)
    )
    assert torch.equal(states[0], states[-1])


def test_the_loss_is_half_the_square_of_what_the_own_cosine_lacks_to_1():
    scores, labels = tensors()
    lacks = [row[y] - 1 for row, y in zip(SCORES, LABELS, strict=True)]
    assert_loss(
        probe_loss("etf-classifier", scores, labels, COUNTS),
        scores,
        sum(by**2 / 2 for by in lacks) / 3,
        [
            [by / 3 * (c == y) for c in range(3)]  # other classes' scores have no gradient
            for by, y in zip(lacks, LABELS, strict=True)
        ],
    )


def test_a_feature_is_pulled_along_its_own_direction_within_the_sphere():
    module, _ = head(4, 3)
    module.eval()  # BatchNorm as drawn: mean 0, variance 1
    x = torch.tensor([[1.0, 2.0, -1.0, 0.5]], dtype=torch.float64, requires_grad=True)
    label = torch.tensor([2])
    output = scored(module_with(module), x)
    probe_loss("etf-classifier", output.heads[0], label, COUNTS).backward()
    h = x.detach()[0] / (1 + 1e-5) ** 0.5
    unit, own = h / h.norm(), module.frame[:, 2]
    cosine = unit @ own
    expected = (cosine - 1) * (own - cosine * unit) / h.norm() / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(x.grad[0], expected, rtol=0, atol=1e-9)


def module_with(part):
    model = nn.Module()
    model.head = part
    return model


def test_a_feature_that_reached_its_direction_costs_nothing_and_is_at_rest():
    module, _ = head(4, 3)
    module.eval()
    x = (3 * module.frame[:, 1:2].T).clone().requires_grad_()
    loss = probe_loss("etf-classifier", module(x), torch.tensor([1]), COUNTS)
    loss.backward()
    assert loss.item() < 1e-20
    assert x.grad.abs().max() < 1e-12


def test_a_batch_of_one_row_and_a_feature_of_zeros_give_finite_scores():
    module, _ = head(4, 3)
    one = module.train()(torch.ones(1, 4, dtype=torch.float64))
    zeros = module.train()(torch.zeros(5, 4, dtype=torch.float64))
    assert torch.isfinite(one).all() and (zeros == 0).all()


def test_narrow_features_are_widened_and_the_run_says_so():
    module, run = head(16, 100)
    assert module.widen.weight.shape == (100, 16)
    assert run.notes == [
        "features of width 16 go through a linear layer to 100, "
        "in which the frame of directions is built"
    ]


class Linear(nn.Module):
    """A network of one linear layer before its head."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(3, 6), nn.Linear(6, 3)

    def features(self, x):
        return self.layer(x)


def test_training_brings_features_of_rare_classes_to_their_directions_too():
    torch.manual_seed(0)
    labels = torch.tensor([0] * 20 + [1] * 4 + [2])
    x = torch.eye(3, dtype=torch.float64)[labels]
    batches = [(x, labels)] * 300
    state = probe_steps("etf-classifier", Linear().double(), batches, (20, 4, 1), lr=0.5)[-1]
    features = x @ state["layer.weight"].T + state["layer.bias"]
    h = F.batch_norm(
        features, None, None, state["head.norm.weight"], state["head.norm.bias"], training=True
    )
    cosines = (F.normalize(h) * state["head.frame"][:, labels].T).sum(dim=1)
    assert cosines.min() > 0.9
