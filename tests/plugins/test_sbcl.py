import pytest
import torch
import torch.nn.functional as F
from by_hand import COUNTS
from torch import nn

from ltbench import Batch, Phase, Rows, recipe
from ltbench.testing.probes import probe_run
from ltbench.testing.task import trained
from ltbench.training.engine import forward, objective
from ltbench_plugins.contrast.sbcl import clusters, relative_spread, two_granularities

LABELS = torch.tensor([0, 0, 0, 1, 1, 2])
SUBCLASSES = torch.tensor([0, 0, 1, 2, 3, 4])
TEMPERATURES = torch.tensor([0.2, 0.1, 0.1], dtype=torch.float64)[LABELS]


def points(rows, seed=0):
    chance = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, 4, generator=chance, dtype=torch.float64)).requires_grad_()


def slow_part(anchor, mates, rivals, temperature):
    """Minus the mean log share of each mate among the rivals of one anchor."""
    if not mates:
        return 0.0
    total = sum(torch.exp(anchor @ rival / temperature) for rival in rivals)
    shares = [torch.exp(anchor @ mate / temperature) / total for mate in mates]
    return -sum(torch.log(share) for share in shares) / len(shares)


def slow_two_granularities(z, labels, subclasses, temperatures, temperature, beta):
    rows = list(zip(z.unbind(), labels.tolist(), subclasses.tolist(), strict=True))
    loss = 0.0
    for i, (anchor, label, subclass) in enumerate(rows):
        others = rows[:i] + rows[i + 1 :]
        fine = [x for x, _, s in others if s == subclass]
        kin = [x for x, y, s in others if y == label and s != subclass]
        outside = [x for x, _, s in others if s != subclass]
        loss = loss + slow_part(anchor, fine, [x for x, _, _ in others], temperature)
        loss = loss + beta * slow_part(anchor, kin, outside, temperatures[i])
    return loss / len(rows)


def test_a_row_is_drawn_to_its_sub_class_and_less_to_the_rest_of_its_class():
    z = points(12)
    given = [of.repeat(2) for of in (LABELS, SUBCLASSES, TEMPERATURES)]
    found = two_granularities(z, *given, 0.1, 0.25)
    expected = slow_two_granularities(z, *given, 0.1, 0.25)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    found_slope, expected_slope = (torch.autograd.grad(loss, z)[0] for loss in (found, expected))
    torch.testing.assert_close(found_slope, expected_slope, rtol=0, atol=1e-9)


def test_with_one_sub_class_a_class_it_is_supervised_contrast():
    z, labels = points(12), LABELS.repeat(2)
    similarity = (z @ z.T / 0.1).fill_diagonal_(-torch.inf)
    logs = similarity.log_softmax(1)
    mates = (labels[:, None] == labels).fill_diagonal_(False)
    expected = -(logs.masked_fill(~mates, 0).sum(1) / mates.sum(1)).mean()
    found = two_granularities(z, labels, labels, TEMPERATURES.repeat(2), 0.1, 0.25)
    torch.testing.assert_close(found, expected)


def test_the_order_of_the_batch_does_not_matter():
    z, order = points(6), torch.tensor([3, 0, 5, 1, 4, 2])
    plain = two_granularities(z, LABELS, SUBCLASSES, TEMPERATURES, 0.1, 0.25)
    moved = (of[order] for of in (z, LABELS, SUBCLASSES, TEMPERATURES))
    torch.testing.assert_close(two_granularities(*moved, 0.1, 0.25), plain)


def test_two_views_of_one_row_are_never_pushed_apart():
    one, far = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 0.0])
    angle = torch.tensor(0.3, requires_grad=True)
    other_view = torch.stack([angle.cos(), angle.sin()])
    labels, subclasses = torch.tensor([0, 1, 0, 1]), torch.tensor([0, 1, 0, 1])
    z = torch.stack([one, far, other_view, far])
    two_granularities(z, labels, subclasses, torch.full((4,), 0.1), 0.1, 0.25).backward()
    assert angle.grad > 0  # descent closes the angle


def test_two_views_of_a_single_row_give_a_slope():
    z, only = points(2), torch.zeros(2, dtype=torch.long)
    loss = two_granularities(z, only, only, torch.full((2,), 0.1).double(), 0.1, 0.25)
    loss.backward()
    assert abs(loss) < 1e-12
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("counts", [(50, 12, 3), (10, 10), (11, 1), (1, 1)])
def test_clusters_hold_between_one_row_and_the_most_and_never_cross_classes(counts):
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    found = clusters(points(len(labels)).detach(), labels, 10, torch.Generator().manual_seed(0))
    sizes = found.bincount()
    assert sizes.max() <= 10
    for c, n in enumerate(counts):
        own = found[labels == c].unique()
        assert not torch.isin(own, found[labels != c]).any()
        assert (len(own) > 1) == (n > 10)


def test_clusters_are_found_where_the_rows_lie_together():
    centres = torch.eye(4).repeat_interleave(10, dim=0)
    noise = 0.05 * torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    z = F.normalize(centres + noise)
    found = clusters(z, torch.zeros(40, dtype=torch.long), 15, torch.Generator().manual_seed(1))
    parts = found.reshape(4, 10)
    whole = (parts == parts.mode(dim=1, keepdim=True).values).float().mean()
    assert whole > 0.8  # by chance it would be about 0.4


def test_a_wider_class_has_a_higher_temperature_within_bounds():
    labels = torch.arange(5).repeat_interleave(40)
    noise = torch.randn(200, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    width = torch.tensor([0.01, 0.1, 0.2, 0.3, 1.5], dtype=torch.float64)[labels]
    z = F.normalize(torch.eye(4, dtype=torch.float64)[0] + width[:, None] * noise)
    spread = relative_spread(z, labels, 5)
    assert (spread.diff() > 0).all()
    torch.testing.assert_close(spread.mean(), torch.ones((), dtype=torch.float64))
    distances = [
        (z[labels == c] - z[labels == c].mean(0)).norm(dim=1).mean().item() for c in range(5)
    ]
    # the fifths at both ends are moved to a fifth of the way between their neighbours
    low = distances[0] + 0.8 * (distances[1] - distances[0])
    high = distances[3] + 0.2 * (distances[4] - distances[3])
    kept = torch.tensor([low, *distances[1:4], high], dtype=torch.float64)
    torch.testing.assert_close(spread, kept / kept.mean())


def test_collapsed_classes_keep_a_temperature():
    z = torch.tensor([[1.0, 0.0]]).repeat(6, 1)
    assert (relative_spread(z, LABELS, 3) > 0).all()


class Straight(nn.Module):
    """A network whose features are its inputs."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)

    def features(self, x):
        return x


def begun(progress, role="contrast"):
    """SBCL in a phase, its run with a built network, the batch it makes and what comes out."""
    sbcl = recipe("sbcl(delta=3)")
    run = probe_run(sbcl, COUNTS, torch.float64, progress)
    run.phase = Phase(role, 1, 0.1, 0.0)
    run.model = sbcl.build(Straight(), run).double()
    labels = torch.tensor([0] * 8 + [1] * 3 + [2])
    run.train = Rows(torch.randn(12, 4, dtype=torch.float64), labels)
    sbcl.prepare(run)
    rows = torch.tensor([7, 2, 4, 11, 9])
    plain = Batch(run.train.inputs[rows], [(labels[rows], 1.0)], rows)
    batch = sbcl.batch(plain, run)
    return sbcl, run, batch, forward(run.model, batch.inputs, run)


def test_the_classifier_rests_while_features_are_contrasted():
    sbcl, run, batch, output = begun(0.5)
    objective(sbcl, output, batch, run).backward()
    assert not any(p.grad.any() for p in run.model.head.parameters() if p.grad is not None)
    assert run.model.projector[0].weight.grad.any()


@pytest.mark.parametrize(("progress", "parts"), [(0.0, 3), (0.5, 5)])
def test_classes_are_split_after_the_warm_up_alone(progress, parts):
    sbcl, *_ = begun(progress)
    assert len(sbcl.methods[0].subclasses.unique()) == parts


def test_classes_of_one_sub_class_keep_the_temperature():
    sbcl, *_ = begun(0.5)
    assert sbcl.methods[0].temperatures[1:].tolist() == pytest.approx([0.1, 0.1])


def test_the_second_stage_is_plain_but_for_the_draw():
    sbcl, run, batch, output = begun(0.5, role="main")
    ((labels, _),) = batch.targets
    assert len(batch.inputs) == len(labels)
    torch.testing.assert_close(
        objective(sbcl, output, batch, run), F.cross_entropy(output.heads[0], labels)
    )
    weights = sbcl.sampling_weights(run.train.labels, run)
    assert run.train.labels.bincount(weights).tolist() == pytest.approx([1, 1, 1])


def test_a_new_classifier_is_all_that_the_second_stage_trains():
    states = {}

    def keep(state):
        states[state["position"]] = {k: tensor.clone() for k, tensor in state["model"].items()}

    trained(recipe("sbcl"), checkpoint=keep)
    changed = {name for name in states[0] if not torch.equal(states[0][name], states[1][name])}
    assert changed == {"head.weight", "head.bias"}


def test_features_come_first_and_the_classifier_takes_a_fifth_as_long():
    run = probe_run(recipe("sbcl"), COUNTS, torch.float32)
    plan = recipe("ssp+sbcl").phases([Phase("main", 50, 0.1, 5e-4)], run)
    assert [(phase.role, phase.epochs, phase.learn) for phase in plan] == [
        ("pretext", 50, ""),
        ("contrast", 50, ""),
        ("main", 10, "head"),
    ]
