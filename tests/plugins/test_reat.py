"""REAT: its attack and its loss by number, the tail's term, and what it counts."""

import pytest
import torch
from oracles import oracle
from torch import nn
from torch.nn.functional import cross_entropy

from ltbench.contract.context import Batch, Output, Phase, Run
from ltbench.tracks.robust.contract import RobustGrants, Threat
from ltbench_plugins.robust.reat import REAT, apart, weights

COUNTS = torch.tensor([100.0, 10.0, 40.0, 1.0, 3.0, 6.0], dtype=torch.float64)


class Released(nn.Module):
    """The linear network of the official numbers, whose features are apart from its scores."""

    def __init__(self, given):
        super().__init__()
        self.given = {key: torch.tensor(given[key], dtype=torch.float64) for key in MAPS}
        self.head = nn.Linear(1, 1)

    def features(self, inputs):
        return inputs.flatten(1)

    def forward(self, inputs):
        return inputs.flatten(1) @ self.given["weight"].T + self.given["bias"]


MAPS = ("weight", "bias", "feature_map")


def run_of(model, counts, threat=None):
    return Run(
        counts=counts,
        seen=counts / counts.sum(),
        progress=torch.zeros(()),
        phase=Phase("main", 1, lr=0.1, weight_decay=0.0),
        model=model,
        granted=RobustGrants(threat=threat or Threat(0.05, 0.02, 3)),
    )


def test_its_loss_is_that_of_its_code(monkeypatch):
    official = oracle("reat_total_loss")
    given, asked, expected = (official[key] for key in ("inputs", "params", "expected"))
    model = Released(given)
    model.head.forward = lambda features: features @ model.given["weight"].T + model.given["bias"]
    counts, said, x, start = (
        torch.tensor(given[key], dtype=torch.float64)
        for key in ("counts", "predicted_adversarial", "x", "uniform")
    )
    labels = torch.tensor(given["y"])
    run = run_of(model, counts, Threat(asked["eps"], asked["step_size"], asked["steps"]))
    monkeypatch.setattr("ltbench.tracks.robust.contract.noise", lambda *taken: start)
    method = REAT()
    method.build(model, run)
    model.reat_said.copy_(said)
    batch = method.batch(Batch(x, [(labels, 1.0)], torch.arange(len(x))), run)
    scores = model(batch.inputs)
    features = batch.inputs.flatten(1) @ model.given["feature_map"].T
    found = torch.tensor(expected["adversarial_scores"], dtype=torch.float64)
    torch.testing.assert_close(scores, found, atol=1e-5, rtol=0)
    balanced = cross_entropy(method.adjust(scores, labels, run), labels)
    term = method.extra(Output((scores,), features), batch, run)
    assert balanced.item() == pytest.approx(expected["balanced_softmax"], abs=1e-5)
    assert term.item() == pytest.approx(expected["tail_term"], abs=1e-5)
    assert (balanced + term).item() == pytest.approx(expected["loss"], abs=1e-5)
    assert torch.equal(model.reat_saying, scores.argmax(1).bincount(minlength=6).double())


def test_weights_by_hand():
    found = weights(torch.tensor([4.0, 1.0]), torch.tensor([2.0, 3.0]))
    e = torch.tensor([(1 - 0.75**2) / 0.25, 1.0])
    torch.testing.assert_close(found, 2 * (1 / (e + 1e-5)) / (1 / (e + 1e-5)).sum())
    same = weights(torch.full((3,), 7.0), torch.full((3,), 7.0))
    torch.testing.assert_close(same, torch.ones(3))


def test_the_term_pair_by_pair_and_its_slope():
    """Of six classes the smallest is the tail, wherever it stands: class 3 here."""
    torch.manual_seed(0)
    features = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    labels, log_p = torch.tensor([3, 0, 3, 1, 5]), features.log_softmax(1)
    rarity, terms = (COUNTS.sum() / COUNTS).sqrt(), []
    for i in (0, 2):
        own = log_p[i].detach()
        every = torch.stack([own.exp() * (own - log_p[j]) for j in range(5)]).mean()
        signs = [-1 if labels[j] == labels[i] else 1 for j in range(5)]
        pairs = [s * (rarity[3] + rarity[labels[j]]) for j, s in enumerate(signs)]
        terms.append(every * sum(pairs) / 5)
    expected = sum(terms) / 2
    found = apart(features, labels, COUNTS)
    torch.testing.assert_close(found, expected)
    slopes = (torch.autograd.grad(one, features)[0] for one in (found, expected))
    torch.testing.assert_close(*slopes)
    assert apart(features, torch.tensor([0, 1, 2, 4, 5]), COUNTS) == 0


def test_an_epoch_is_weighed_by_what_was_said_in_the_last():
    counts, model = torch.tensor([8.0, 4.0, 2.0]), nn.Linear(2, 3)
    run, method = run_of(model, counts), REAT(tail=0)
    method.build(model, run)
    method.prepare(run)
    batch = Batch(torch.zeros(2, 2), [(torch.tensor([0, 1]), 1.0)], torch.arange(2))
    scores = torch.tensor([[0.0, 1.0, 0.0], [0.0, 2.0, 0.0]])
    run.granted = Still()
    for _ in range(2):
        method.batch(batch, run)
        for _ in range(2):  # a step that asks twice counts a batch once
            assert method.extra(Output((scores,), scores), batch, run) is None
    assert torch.equal(model.reat_said, counts)
    assert model.reat_saying.tolist() == [0, 4, 0]
    method.prepare(run)
    method.batch(batch, run)
    assert model.reat_said.tolist() == [0, 4, 0] and model.reat_saying.sum() == 0


class Still(RobustGrants):
    """An attack that moves nothing."""

    def __init__(self):
        super().__init__(threat=Threat(0.1, 0.1, 1))

    def attack(self, inputs, labels, run, objective=None, start="uniform"):
        return inputs
