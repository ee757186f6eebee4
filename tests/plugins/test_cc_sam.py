import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ltbench import Batch, LTBenchError, Phase, recipe
from ltbench.testing import probe_steps
from ltbench.testing.probes import probe_run
from ltbench.training.engine import forward, objective

COUNTS = (100, 10, 2)


class Small(nn.Module):
    """A linear map to three features, and a linear head."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(2, 3).double()
        self.head = nn.Linear(3, 3).double()

    def features(self, x):
        return self.body(x)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Small()


X = torch.tensor([[1.0, 2.0], [0.5, -1.0], [0.2, 0.1], [-0.4, 0.3], [1.1, 0.9]]).double()
Y = torch.tensor([0, 2, 0, 0, 2])  # class 1 is absent


def perturbed_loss(model, noise, counts, x, y):
    """The mean loss of rows under their class's classifier, class after class as in the paper."""
    features = model.features(x)
    head = (model.head.weight, model.head.bias)
    size = sum(p.numel() for p in head)
    length = torch.sqrt(sum((p**2).sum() for p in head)).detach()
    total = 0
    for c in y.unique():
        rows = features[y == c]
        loss = F.cross_entropy(F.linear(rows, *head), y[y == c])
        moved = []
        for p, g in zip(head, torch.autograd.grad(loss, head, retain_graph=True), strict=True):
            rho = noise * length.sqrt() / g.norm().sqrt() / 2**0.5
            rho = rho / (counts[c] - 1) ** 0.25 / size**0.25
            moved.append(p + rho * g / g.norm() * size**0.5)
        total = total + F.cross_entropy(F.linear(rows, *moved), y[y == c], reduction="sum")
    return total / len(y)


def test_a_share_of_the_loss_is_taken_under_each_class_own_classifier(model):
    lr, noise, ratio = 0.1, 0.2, 0.3
    text = f"cc-sam(noise={noise}, ratio={ratio})"
    after = probe_steps(text, model, [(X, Y)], COUNTS, lr)[0]
    plain = F.cross_entropy(model.head(model.features(X)), Y)
    loss = (1 - ratio) * plain + ratio * perturbed_loss(model, noise, COUNTS, X, Y)
    assert perturbed_loss(model, noise, COUNTS, X, Y) > 1.1 * plain  # it makes a difference
    for name, p in model.named_parameters():
        (slope,) = torch.autograd.grad(loss, p, retain_graph=True)
        torch.testing.assert_close(after[name], (p - lr * slope).detach(), rtol=0, atol=1e-10)


def test_without_noise_the_first_stage_is_plain_training(model):
    ours = probe_steps("cc-sam(noise=0.0)", model, [(X, Y)], COUNTS, 0.1)[0]
    plain = probe_steps("erm", model, [(X, Y)], COUNTS, 0.1)[0]
    torch.testing.assert_close(ours["body.weight"], plain["body.weight"])


def test_rarer_classes_have_wider_radii_and_one_row_has_that_of_two():
    cc_sam = recipe("cc-sam")
    probe_run(cc_sam, (17, 2, 1), torch.float64)
    radius = cc_sam.methods[0].radius
    assert (radius / radius[0]).tolist() == pytest.approx([1, 2, 2])


def test_a_gradient_of_zero_moves_nothing(model):
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.tensor([1000.0, 0.0, 0.0]))
    batch = [(torch.ones(1, 2).double(), torch.tensor([0]))]
    after = probe_steps("cc-sam(noise=1.0)", model, batch, COUNTS, 0.1)[0]
    for name, p in model.state_dict().items():
        assert torch.equal(after[name], p)


def second_stage(model, progress, text="cc-sam", x=X, y=Y):
    cc_sam = recipe(text)
    run = probe_run(cc_sam, COUNTS, torch.float64, progress, Phase("head", 1, 0.1, 0.0))
    run.model = model
    batch = Batch(x, [(y, 1.0)], torch.arange(len(y)))
    return objective(cc_sam, forward(model, x, run), batch, run)


@pytest.mark.parametrize(("progress", "limit"), [(0.0, 1.0), (0.4, 1.0), (0.9, 0.3)])
def test_the_second_stage_moves_features_up_the_gradient_of_their_class(model, progress, limit):
    features = model.features(X).detach().requires_grad_()
    total = 0
    for c in Y.unique():
        mine = c == Y
        w = math.log(100 / COUNTS[c] + 0.01) / 2
        loss = F.cross_entropy(model.head(features)[mine], Y[mine])
        (g,) = torch.autograd.grad(loss, features)
        moved = model.head(features + w * g / g.norm())
        total = total + w * F.cross_entropy(moved[mine], Y[mine], reduction="sum")
    part = min(progress, limit)
    expected = part * total / len(Y) + (1 - part) * F.cross_entropy(model.head(features), Y)
    loss = second_stage(model, progress, f"cc-sam(limit={limit})")
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-10)
    for p in model.head.parameters():
        ours, theirs = (
            torch.autograd.grad(one, p, retain_graph=True)[0] for one in (loss, expected)
        )
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_the_second_stage_survives_a_gradient_of_zero(model):
    with torch.no_grad():
        model.head.weight.zero_()
    assert torch.isfinite(second_stage(model, 0.5))


def test_the_second_stage_trains_the_head_on_classes_drawn_equally():
    cc_sam = recipe("cc-sam")
    run = probe_run(cc_sam, COUNTS, torch.float64)
    plan = cc_sam.phases([Phase("main", 200, 0.1, 2e-4)], run)
    assert [(p.role, p.epochs, p.learn, p.reset) for p in plan] == [
        ("main", 200, "", None),
        ("head", 30, "head", None),
    ]
    labels = torch.tensor([0, 0, 0, 1, 2, 2])
    assert cc_sam.sampling_weights(labels, run) is None
    run.phase = plan[1]
    weights = cc_sam.sampling_weights(labels, run)
    assert labels.bincount(weights).tolist() == pytest.approx([1, 1, 1])


def test_mixed_rows_go_by_their_first_label_under_its_classifier(model):
    cc_sam = recipe("cc-sam(noise=0.0, ratio=1.0)")
    run = probe_run(cc_sam, COUNTS, torch.float64)
    run.model = model
    batch = Batch(X, [(Y, 0.7), (Y.flip(0), 0.3)], torch.arange(5))
    loss = objective(cc_sam, forward(model, X, run), batch, run)
    torch.testing.assert_close(loss, F.cross_entropy(model.head(model.features(X)), Y))


@pytest.mark.parametrize("share", [0.7, torch.tensor([0.7, 0.2, 1.0, 0.5, 0.0])])
def test_classifiers_move_up_the_gradient_of_the_mixed_loss(model, share):
    cc_sam = recipe("cc-sam(noise=0.3, ratio=1.0)")
    run = probe_run(cc_sam, COUNTS, torch.float64)
    run.model, others = model, Y.flip(0)
    batch = Batch(X, [(Y, share), (others, 1 - share)], torch.arange(5))
    found = objective(cc_sam, forward(model, X, run), batch, run)
    features, total = model.features(X), 0.0
    for c in (0, 2):
        rows = c == Y
        weight, bias = (p.detach().requires_grad_() for p in model.head.parameters())
        scores = F.linear(features.detach(), weight, bias)
        mixed = share * F.cross_entropy(scores, Y, reduction="none")
        mixed = mixed + (1 - share) * F.cross_entropy(scores, others, reduction="none")
        slopes = torch.autograd.grad(mixed[rows].mean(), (weight, bias))
        length = torch.stack([weight.norm(), bias.norm()]).norm()
        moved = []
        for p, slope in zip((weight, bias), slopes, strict=True):
            rho = 0.3 * length.sqrt() / ((2 * slope.norm()).sqrt() * ((COUNTS[c] - 1) * 12) ** 0.25)
            moved.append(p + rho * 12**0.5 * slope / slope.norm())
        total = total + F.cross_entropy(F.linear(features[rows], *moved), Y[rows], reduction="sum")
    torch.testing.assert_close(found, total / 5)


def test_a_head_that_is_not_linear_is_refused(model):
    with pytest.raises(LTBenchError, match="linear head"):
        probe_steps("cc-sam+ldam", model, [(X, Y)], COUNTS, 0.1)
