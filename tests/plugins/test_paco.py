import math

import pytest
import torch
import torch.nn.functional as F
from by_hand import COUNTS
from torch import nn

from ltbench import Batch, Rows, recipe
from ltbench.contract.context import Output
from ltbench.testing.probes import probe_run
from ltbench.testing.task import trained
from ltbench.training.engine import objective

LABELS = torch.tensor([0, 2, 0, 1])
KEYS = torch.tensor([0, 1, 0, -1, 2])  # one place is empty


class Straight(nn.Module):
    """A network whose features are its inputs."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)

    def features(self, x):
        return x


def begun(text="paco(queue=5)"):
    """The recipe, its run with a built network, and a plain batch of four rows."""
    paco = recipe(text)
    run = probe_run(paco, COUNTS, torch.float64)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        run.model = paco.build(Straight(), run).double()
        run.kept["paco"].double()
        run.train = Rows(torch.randn(4, 4, dtype=torch.float64), LABELS)
    return paco, run, Batch(run.train.inputs, [(LABELS, 1.0)], torch.arange(4))


def with_keys(text="paco(queue=5)"):
    """The same with keys in the queue and no projector, and what a network may put out."""
    paco, run, batch = begun(text)
    chance = torch.Generator().manual_seed(1)
    keys = run.kept["paco"]
    keys.vectors = F.normalize(torch.randn(5, 6, generator=chance, dtype=torch.float64))
    keys.labels = KEYS
    run.model.projector = nn.Identity()
    features = torch.randn(4, 6, generator=chance, dtype=torch.float64, requires_grad=True)
    scores = torch.randn(4, 3, generator=chance, dtype=torch.float64, requires_grad=True)
    return paco, run, batch, Output((scores,), features)


def slow_paco(output, run, alpha, beta, temperature):
    """One softmax a row over three classes, the other rows and the keys that are there."""
    z = F.normalize(output.features)
    prior = torch.tensor([n / sum(COUNTS) for n in COUNTS], dtype=torch.float64)
    total = 0.0
    for i, label in enumerate(LABELS.tolist()):
        others = [(z[j], int(LABELS[j])) for j in range(4) if j != i]
        keys = zip(run.kept["paco"].vectors, KEYS.tolist(), strict=True)
        others += [(vector, c) for vector, c in keys if c >= 0]
        classes = output.heads[0][i] + torch.log(prior)
        logits = [*classes, *(z[i] @ vector / temperature for vector, _ in others)]
        wanted = [beta * (c == label) for c in range(3)] + [alpha * (c == label) for _, c in others]
        sums = torch.log(sum(torch.exp(logit) for logit in logits))
        total = total - sum(
            weight * (logit - sums) for weight, logit in zip(wanted, logits, strict=True)
        ) / sum(wanted)
    return total / 4


@pytest.mark.parametrize(("alpha", "beta", "temperature"), [(0.05, 1.0, 0.2), (0.7, 0.4, 0.05)])
def test_the_loss_is_one_softmax_over_classes_rows_and_keys(alpha, beta, temperature):
    text = f"paco(alpha={alpha}, beta={beta}, temperature={temperature}, queue=5)"
    paco, run, batch, output = with_keys(text)
    found = objective(paco, output, batch, run)
    expected = slow_paco(output, run, alpha, beta, temperature)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    leaves = (output.heads[0], output.features)
    found_slopes, expected_slopes = (torch.autograd.grad(x, leaves) for x in (found, expected))
    torch.testing.assert_close(found_slopes, expected_slopes, rtol=0, atol=1e-9)


def test_alpha_0_leaves_balanced_softmax_with_all_rows_as_rivals():
    paco, run, batch, output = with_keys("paco(alpha=0.0, temperature=0.2, queue=5)")
    z = F.normalize(output.features)
    rows = (z @ z.T / 0.2).fill_diagonal_(-math.inf)
    keys = z @ run.kept["paco"].vectors[KEYS >= 0].T / 0.2
    classes = output.heads[0] + run.seen.log()
    expected = F.cross_entropy(torch.cat([classes, rows, keys], dim=1), LABELS)
    torch.testing.assert_close(objective(paco, output, batch, run), expected)


def test_rivals_far_away_leave_balanced_softmax():
    paco, run, batch, output = with_keys("paco(alpha=0.0, queue=5)")
    far = Output((output.heads[0] + 1000,), output.features)
    plain = objective(recipe("balanced-softmax"), output, batch, run)
    torch.testing.assert_close(objective(paco, far, batch, run), plain)


def test_the_order_of_the_batch_does_not_matter():
    paco, run, batch, output = with_keys()
    order = torch.tensor([2, 0, 3, 1])
    moved = Batch(batch.inputs[order], [(LABELS[order], 1.0)], order)
    turned = Output((output.heads[0][order],), output.features[order])
    torch.testing.assert_close(
        objective(paco, turned, moved, run), objective(paco, output, batch, run)
    )


def test_at_the_start_each_row_meets_the_other_rows_and_this_step_s_keys_alone():
    paco, run, batch = begun("paco(queue=9)")
    paco.batch(batch, run)
    assert run.kept["paco"].labels.tolist() == [0, 2, 0, 1, -1, -1, -1, -1, -1]


def test_the_queue_holds_the_last_keys_with_their_classes():
    paco, run, batch = begun("paco(queue=6)")
    for _ in range(2):
        paco.batch(batch, run)
    assert run.kept["paco"].labels.tolist() == [0, 1, 0, 1, 0, 2]
    keys = run.kept["paco"]
    expected = F.normalize(keys.encoder.projector(batch.inputs))
    torch.testing.assert_close(keys.vectors, expected[[2, 3, 2, 3, 0, 1]])


def test_a_batch_larger_than_the_queue_leaves_its_last_rows():
    paco, run, batch = begun("paco(queue=3)")
    paco.batch(batch, run)
    assert run.kept["paco"].labels.tolist() == [2, 0, 1]


def test_the_encoder_of_the_keys_starts_as_a_copy_and_then_follows_the_network():
    paco, run, batch = begun("paco(queue=6, momentum=0.9)")
    weight, copied = run.model.projector[0].weight, run.kept["paco"].encoder.projector[0].weight
    with torch.no_grad():
        weight.fill_(1.0)
        paco.batch(batch, run)
        torch.testing.assert_close(copied, weight)
        weight.fill_(2.0)
        paco.batch(batch, run)
    torch.testing.assert_close(copied, torch.full_like(copied, 0.9 * 1 + 0.1 * 2))


def test_keys_pass_no_gradient_to_their_encoder():
    paco, run, batch = begun()
    batch = paco.batch(batch, run)
    features = run.model.features(batch.inputs)
    objective(paco, Output((run.model.head(features),), features), batch, run).backward()
    assert run.model.projector[0].weight.grad is not None
    assert all(parameter.grad is None for parameter in run.kept["paco"].encoder.parameters())


def test_a_second_gradient_of_the_same_step_adds_no_keys():
    one, two = (trained(recipe(text)).run.kept["paco"] for text in ("paco", "paco+sam"))
    assert one.place == two.place
    assert torch.equal(one.labels, two.labels)


def test_a_single_row_and_an_empty_queue_give_a_number():
    paco, run, _ = begun()
    batch = paco.batch(Batch(run.train.inputs[:1], [(LABELS[:1], 1.0)], torch.arange(1)), run)
    features = run.model.features(batch.inputs)
    loss = objective(paco, Output((run.model.head(features),), features), batch, run)
    assert torch.isfinite(loss)
