import math
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from oracles import oracle
from torch import nn

from ltbench import Grants, Rows, recipe
from ltbench.testing import probe_scores
from ltbench.testing.probes import probe_run
from ltbench_plugins.stages.dcs import (
    DCS,
    DNIP,
    PROPOSALS,
    ROUNDS,
    annealed,
    cobias,
    corrected,
    objective,
    or_plain,
)

COUNTS = (100, 10, 1)
SAME = 48  # the weight 30/30


class Known(nn.Module):
    """A network whose scores are its inputs."""

    def __init__(self):
        super().__init__()
        self.head = nn.Identity()

    def features(self, x):
        return x


def counted(decided, labels, classes):
    right = labels[decided == labels]
    return [np.bincount(of, minlength=classes) for of in (right, decided, labels)]


def drawn(seed=0):
    chance = torch.Generator().manual_seed(seed)
    return torch.rand(ROUNDS, PROPOSALS, 3, generator=chance, dtype=torch.float64).tolist()


def biased(seed=0, rows=(60, 25, 9, 4)):
    """Probabilities that lean towards the classes with more rows, and labels."""
    chance = torch.Generator().manual_seed(seed)
    labels = torch.arange(len(rows)).repeat_interleave(torch.tensor(rows))
    scores = torch.randn(len(labels), len(rows), generator=chance, dtype=torch.float64)
    scores[torch.arange(len(labels)), labels] += 1.5
    return (scores + torch.tensor(rows).log()).softmax(dim=1), labels


def finished(text, validation=None, cross_fitted=None, model=None, counts=COUNTS):
    method = recipe(text)
    run = probe_run(method, counts, torch.float64)
    run.granted = Grants(cross_fitted=cross_fitted)
    run.model = Known() if model is None else model
    run.model = method.finish(run.model, validation, run)
    return method, run


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        (0, 0.4),  # centre 0, half width 1/2: 1 - 0.3 / 0.5
        (1, 0.6),
        (2, 0.0),
        (3, 0.0),  # half width 1/4 from here
        (4, 0.8),
        (5, 0.2),
        (8, 0.0),  # half width 1/8 from here
        (10, 0.6),
        (11, 0.4),
        (17, 0.3),
        (18, 0.7),
        (19, 0.01),
        (33, 0.15),
        (48, 0.3),
    ],
)
def test_each_rule_is_its_formula_at_three_tenths(rule, value):
    p = torch.tensor([0.3], dtype=torch.float64)
    assert corrected(p, torch.tensor(rule), 30).item() == pytest.approx(value, abs=1e-12)


def test_the_objective_is_that_worked_by_hand():
    # accuracies 3/4 and 1/2, gap 1/4; two errors of six rows
    hits, predicted, rows = np.array([3, 1]), np.array([4, 2]), np.array([4, 2])
    joint = [(3 + 4000) / (6 + 16000), (1 + 4000) / (6 + 16000)]
    alone = [((4 + 4000) / (6 + 8000)) ** 2, ((2 + 4000) / (6 + 8000)) ** 2]
    information = sum(math.log(j / a) for j, a in zip(joint, alone, strict=True))
    assert cobias(hits, rows) == pytest.approx(0.25)
    assert objective(hits, predicted, rows, 1, 0, 0) == 2
    assert objective(hits, predicted, rows, 0, 2, 0) == pytest.approx(2 * 6 * 0.25)
    assert objective(hits, predicted, rows, 0, 0, 1) == pytest.approx(-6 * information, rel=1e-12)


def test_decisions_and_objectives_are_those_of_the_released_code():
    told = oracle("dcs_objective")
    p = torch.tensor(told["probabilities"], dtype=torch.float64)
    labels = np.array(told["labels"])
    for case in told["cases"]:
        decided = or_plain(corrected(p, torch.tensor(case["rules"]), 30), p).argmax(dim=1).numpy()
        assert decided.tolist() == case["pred"]
        counts = counted(decided, labels, 4)
        assert cobias(counts[0], counts[2]) == pytest.approx(case["cobias"], abs=1e-12)
        for weights, value in case["objective(alpha,beta,tau)"].items():
            given = objective(*counts, *map(float, weights.split(",")))
            assert given == pytest.approx(value, abs=1e-10)


def test_an_always_wrong_model_can_have_the_lesser_objective_and_is_never_taken():
    p = torch.tensor([[0.9, 0.1]] * 9 + [[0.8, 0.2]], dtype=torch.float64)
    labels = torch.tensor([0] * 9 + [1])
    wrong, plain = 1 - labels.numpy(), p.argmax(dim=1).numpy()
    value = DCS(beta=2.7, tau=0.0).objective
    assert value(*counted(wrong, labels.numpy(), 2)) < value(*counted(plain, labels.numpy(), 2))
    for seed in range(5):
        rules = annealed(p, labels, value, 0, 30, drawn(seed))
        decided = or_plain(corrected(p, rules, 30), p).argmax(dim=1)
        assert (decided == labels)[labels == 0].double().mean() + (decided[-1] == 1) >= 1


@pytest.mark.parametrize("method", [DNIP(), DCS(), DCS(beta=10.0)])
@pytest.mark.parametrize("seed", range(3))
def test_on_the_rows_of_the_fit_neither_gaps_nor_balanced_accuracy_get_worse(method, seed):
    p, labels = biased(seed)
    rules = annealed(p, labels, method.objective, method.first, 30, drawn(seed))
    after = or_plain(corrected(p, rules, 30), p).argmax(dim=1).numpy()
    told = []
    for decided in (p.argmax(dim=1).numpy(), after):
        hits, predicted, rows = counted(decided, labels.numpy(), 4)
        told.append(
            (cobias(hits, rows), -(hits / rows).mean(), method.objective(hits, predicted, rows))
        )
    assert all(new <= old + 1e-12 for old, new in zip(*told, strict=True))
    assert told[1][2] < told[0][2]


def test_weights_alone_keep_the_order_within_a_class():
    p, labels = biased()
    rules = annealed(p, labels, DNIP().objective, DNIP.first, 30, drawn())
    assert (rules >= 19).all()
    assert (corrected(p, rules, 30).argsort(dim=0) == p.argsort(dim=0)).all()


def test_the_search_finds_the_only_weight_that_sets_all_rows_right():
    # the row of class 1 needs less than 5/8 of class 0, the others more than 1/2 of it
    p = torch.tensor([[0.66, 0.34], [0.66, 0.34], [0.616, 0.384]], dtype=torch.float64)
    rules = annealed(p, torch.tensor([0, 0, 1]), DNIP().objective, 19, 30, drawn())
    weights = (rules - 18) / 30
    assert 0.34 / 0.66 < weights[0] / weights[1] < 0.384 / 0.616


def test_permuted_class_names_permute_the_rules():
    p, labels = biased()
    order = torch.tensor([2, 0, 3, 1])
    rules = annealed(p, labels, DCS().objective, 0, 30, drawn())
    renamed = annealed(p[:, order], order.argsort()[labels], DCS().objective, 0, 30, drawn())
    assert torch.equal(renamed, rules[order])


def test_a_class_without_held_out_rows_keeps_its_probabilities():
    p, labels = biased(rows=(40, 20, 5, 0))
    rules = annealed(p, labels, DCS().objective, 0, 30, drawn())
    assert rules[3] == SAME
    assert (rules[:3] != SAME).any()


@pytest.mark.parametrize("text", ["dnip", "dcs"])
def test_without_labelled_held_out_rows_scores_stay_as_they_are(text):
    scores = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).double()
    assert torch.equal(probe_scores(text, scores, COUNTS), scores)
    method, run = finished(text)
    assert torch.equal(method.scores(scores, run), scores)
    assert run.notes == ["no labelled rows held out, so probabilities stay as they are"]


@pytest.mark.parametrize("text", ["dnip", "dcs"])
def test_rules_found_on_validation_rows_are_kept_in_the_network_through_a_pickle(text):
    p, labels = biased(rows=(60, 25, 9))
    method, run = finished(text, Rows(p.log(), labels))
    before = method.scores(p.log(), run)
    right = before.argmax(dim=1) == labels
    assert right[labels > 0].sum() > (p.argmax(dim=1) == labels)[labels > 0].sum()
    run.model = pickle.loads(pickle.dumps(run.model))
    assert torch.equal(recipe(text).scores(p.log(), run), before)
    assert "class_rules" in run.model.state_dict()


def test_scores_after_it_are_logarithms_of_the_corrected_probabilities():
    run = SimpleNamespace(model=SimpleNamespace(class_rules=torch.tensor([33, 48, 1])))
    p = torch.tensor([[0.6, 0.1, 0.3]], dtype=torch.float64)
    after = DCS().scores(p.log() + 3, run)
    assert after.exp()[0].tolist() == pytest.approx([0.3, 0.1, 0.6], abs=1e-12)


def test_a_row_in_which_all_comes_to_nothing_falls_back_to_its_probabilities():
    run = SimpleNamespace(model=SimpleNamespace(class_rules=torch.tensor([2, 2, 2])))
    p = torch.tensor([[0.4, 0.35, 0.25]], dtype=torch.float64)
    assert DCS().scores(p.log(), run).exp()[0].tolist() == pytest.approx(p[0].tolist())


def test_in_a_table_rules_are_found_on_cross_fitted_scores_around_an_estimator():
    p, labels = biased(rows=(60, 12))
    estimator = SimpleNamespace()
    method, run = finished(
        "dnip", cross_fitted=lambda: (p.log(), labels), model=estimator, counts=(60, 12)
    )
    assert run.model is estimator
    decided = method.scores(p.log(), run).argmax(dim=1)
    assert (decided == labels)[labels == 1].sum() > (p.argmax(dim=1) == labels)[labels == 1].sum()
