import pytest
import torch
import torch.nn.functional as F
from by_hand import COUNTS
from torch import nn

from ltbench import Batch, CosineHead, Rows, recipe
from ltbench.contract.context import Output
from ltbench.testing.probes import probe_run
from ltbench.toolbox import contrast
from ltbench.training.engine import forward, objective
from ltbench_plugins.contrast.bcl import balanced_contrast


def points(rows, seed=0):
    chance = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 4, generator=chance, dtype=torch.float64)
    return F.normalize(x).requires_grad_()


def slow_balanced_contrast(z, labels, prototypes, temperature):
    """The paper's sums, one anchor and one class at a time."""
    members = {c: [prototype] for c, prototype in enumerate(prototypes.unbind())}
    anchors = list(zip(z.unbind(), labels.tolist(), strict=True))
    for row, label in anchors:
        members[label].append(row)
    total = 0.0
    for anchor, label in anchors:
        denominator = 0.0
        for c, found in members.items():
            others = [torch.exp(anchor @ x / temperature) for x in found if x is not anchor]
            denominator = denominator + sum(others) / len(others)
            if c == label:
                mates = others
        total = total - sum(torch.log(mate / denominator) for mate in mates) / len(mates)
    return total / len(z)


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 2], [0, 0, 0, 0, 1, 0], [2]])
def test_every_class_counts_by_its_mean_among_the_rivals(labels):
    z, prototypes, labels = points(len(labels)), points(3, seed=1), torch.tensor(labels)
    found = balanced_contrast(z, labels, prototypes, 0.07)
    expected = slow_balanced_contrast(z, labels, prototypes, 0.07)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    found_slopes, expected_slopes = (
        torch.autograd.grad(loss, (z, prototypes)) for loss in (found, expected)
    )
    torch.testing.assert_close(found_slopes, expected_slopes, rtol=0, atol=1e-9)


def test_the_order_of_the_batch_does_not_matter():
    z, prototypes, labels = points(6), points(3, seed=1), torch.tensor([0, 0, 0, 1, 1, 2])
    order = torch.tensor([4, 2, 5, 0, 1, 3])
    torch.testing.assert_close(
        balanced_contrast(z[order], labels[order], prototypes, 0.1),
        balanced_contrast(z, labels, prototypes, 0.1),
    )


def test_with_all_classes_equally_frequent_every_other_class_is_divided_alike():
    z, prototypes, labels = points(6), points(3, seed=1), torch.tensor([0, 1, 2, 0, 1, 2])
    similarity = z @ torch.cat([z, prototypes]).T / 0.1
    own = labels[:, None] == torch.cat([labels, torch.arange(3)])
    rivals = ~torch.eye(6, 9, dtype=torch.bool)
    exponentials = similarity.exp() * rivals
    # a class has 2 views and a prototype, and one less where the anchor is of it
    denominator = (exponentials * own).sum(1) / 2 + (exponentials * ~own).sum(1) / 3
    logs = (similarity - denominator.log()[:, None]) * (own & rivals)
    expected = -(logs.sum(1) / 2).mean()
    torch.testing.assert_close(balanced_contrast(z, labels, prototypes, 0.1), expected)


def test_a_division_that_is_a_constant_moves_the_loss_alone():
    similarity = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    everyone = torch.ones(4, 5, dtype=torch.bool)
    mates = torch.eye(4, 5, dtype=torch.bool)
    plain, divided = (contrast(similarity, mates, everyone, shift) for shift in (0.0, 2.0))
    torch.testing.assert_close(divided, plain - 2)
    torch.testing.assert_close(*(torch.autograd.grad(x, similarity) for x in (plain, divided)))


def test_an_anchor_without_mates_counts_nothing():
    similarity = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    nobody = torch.zeros(2, 3, dtype=torch.bool)
    loss = contrast(similarity, nobody, ~nobody)
    loss.backward()
    assert loss == 0
    assert not similarity.grad.any()


def test_far_apart_views_at_a_low_temperature_stay_finite():
    z = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    loss = balanced_contrast(z, torch.tensor([0, 0]), torch.eye(2), 1e-3)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(z.grad).all()


class Straight(nn.Module):
    """A network whose features are its inputs."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)

    def features(self, x):
        return x


def stepped(text="bcl"):
    """The recipe, its run with a built network, the batch it makes and what comes out."""
    bcl = recipe(text)
    run = probe_run(bcl, COUNTS, torch.float64)
    run.model = bcl.build(Straight(), run).double()
    run.train = Rows(torch.randn(9, 4, dtype=torch.float64), torch.arange(9) % 3)
    rows = torch.tensor([7, 2, 4, 0])
    plain = Batch(run.train.inputs[rows], [(run.train.labels[rows], 1.0)], rows)
    batch = bcl.batch(plain, run)
    return bcl, run, batch, forward(run.model, batch.inputs, run)


def test_the_loss_is_cross_entropy_plus_a_share_of_the_contrast_of_two_more_views():
    bcl, run, batch, output = stepped()
    ((labels, _),) = batch.targets
    assert torch.equal(batch.inputs, batch.inputs[:4].repeat(3, 1))
    z = F.normalize(run.model.projector(output.features[4:]))
    prototypes = F.normalize(run.model.prototypes(run.model.head.weight))
    found = slow_balanced_contrast(z, labels.repeat(2), prototypes, 0.07)
    expected = F.cross_entropy(output.heads[0][:4], labels) + 0.35 * found
    torch.testing.assert_close(objective(bcl, output, batch, run), expected)


def test_with_logit_adjustment_the_cross_entropy_alone_has_the_log_prior():
    bcl, run, batch, output = stepped("bcl+logit-adjustment")
    ((labels, _),) = batch.targets
    scores = output.heads[0][:4]
    difference = F.cross_entropy(scores + run.seen.log(), labels) - F.cross_entropy(scores, labels)
    plain = objective(recipe("bcl"), output, batch, run)
    torch.testing.assert_close(objective(bcl, output, batch, run), plain + difference)


def test_prototypes_are_made_of_the_weights_of_a_cosine_classifier():
    bcl, run, batch, output = stepped()
    run.model.zero_grad()
    bcl.extra(output, batch, run).backward()
    assert isinstance(run.model.head, CosineHead)
    assert run.model.head.weight.grad.norm(dim=1).min() > 0


def test_mixed_rows_are_contrasted_by_their_own_labels():
    bcl, run, batch, output = stepped("mixup+bcl")
    plain = Batch(batch.inputs, [(run.train.labels[batch.rows], 1.0)], batch.rows)
    torch.testing.assert_close(bcl.extra(output, batch, run), bcl.extra(output, plain, run))


def test_without_more_views_it_is_plain():
    bcl, run, batch, _ = stepped()
    features = batch.inputs[:4]
    scores = torch.randn(4, 3, dtype=torch.float64)
    assert bcl.extra(Output((scores,), features), batch, run) is None
