"""Robust learning: the attack, the methods that use it, the evaluation, and bad input."""

import copy

import numpy as np
import pytest
import torch
from msgspec import structs
from torch import nn
from torch.nn.functional import cross_entropy, kl_div

from ltbench import LTBenchError, Method, Recipe, Rows, Unmet, protocol, recipe
from ltbench.augmentation.views import Views
from ltbench.contract.context import PREDICTED_AT_ONCE, Batch, Output, Phase, Run
from ltbench.datasets import built_in
from ltbench.testing.report import Failure
from ltbench.testing.task import expect_unseen
from ltbench.tracks.classification import split
from ltbench.tracks.recognition.problem import Recognition
from ltbench.tracks.recognition.track import run as recognise
from ltbench.tracks.robust.checks import THOROUGH, White
from ltbench.tracks.robust.contract import RobustGrants, Threat, pgd
from ltbench.tracks.robust.declaration import RobustTrack
from ltbench.tracks.robust.scores import robust_scores, under_attack
from ltbench.tracks.robust.track import plan, refuse_outside, run
from ltbench.tracks.robust.track import tested as chosen
from ltbench_plugins.robust.robal import Head, adjusted
from ltbench_plugins.robust.separable import contrast
from ltbench_plugins.robust.trades import divergence

CPU = torch.device("cpu")
DIGITS = built_in()["digits"]()
SHIPPED = (
    "digits-robust",
    "mnist-robust",
    "cifar10-robust-lt-50",
    "cifar100-robust-lt-10",
    "cifar10-jpeg-robust-short",
)
WEIGHT = [
    [2.3716990969, -1.9229165361, 0.4981078409, 0.4657977513],
    [-4.3830248725, 1.8725120505, 1.4979185291, 0.2468252909],
    [4.0329326595, -1.7999084508, -4.2772035136, 0.8667038783],
]
BIAS = [-1.0797830088, -0.0413150952, -0.8903824236]
PIXELS = [
    [0.8043160614, 0.4583597816, 0.3382703761, 0.539804327],
    [0.6477954419, 0.8788908404, 0.7604649391, 0.7240273584],
    [0.5918332318, 0.5291074263, 0.947816901, 0.2251685616],
    [0.8642463434, 0.2886565319, 0.3893596294, 0.5066438092],
    [0.2818505988, 0.715102895, 0.9181011978, 0.4913860292],
    [0.3960821491, 0.0869630682, 0.5667121847, 0.6435922471],
]
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
NORMAL = [
    [0.8472552109, -0.8284723857, -0.8848096852, 0.1786311434],
    [2.4509476807, -0.7877536862, -0.6015654417, -1.9903258179],
    [2.8493314825, -1.2850836732, -0.1837929071, -1.5022314999],
    [3.2645995514, 1.1309272958, 0.6503072773, -0.0758195064],
    [1.2561329412, -0.0398240361, 0.4092080766, 0.0569404835],
    [0.4096024103, 0.0502611676, 0.2811454409, 0.4192579016],
]
BOTH_SIDES = [
    [0.002285101, -0.0142359612, -0.0165928034, -0.034604061],
    [0.0494389293, -0.0019049816, -0.035890151, 0.0496333195],
    [-0.0036255685, -0.0215088186, 0.0375670744, -0.0047854635],
    [0.0079916816, -0.0223909975, -0.0361841649, 0.008950114],
    [-0.0117712968, -0.0181981702, 0.0004876602, -0.0106188652],
    [-0.0362100395, -0.0012168346, -0.0440972031, -0.0401869063],
]
ONE_SIDE = [
    [0.7483417857, 0.0880278865, 0.8977234742, 0.2212187734],
    [0.8678953422, 0.4190070824, 0.888295571, 0.8694098312],
    [0.7613768405, 0.2872072167, 0.2579733905, 0.9529455839],
    [0.1262740849, 0.831080047, 0.5848381031, 0.1419075476],
    [0.6432861318, 0.7778480993, 0.0690243202, 0.9915651913],
    [0.9514662684, 0.2741964049, 0.4136834333, 0.71467655],
]
MOVED = [
    [0.8543160614, 0.5083597816, 0.2882703761, 0.589804327],
    [0.6977954419, 0.8288908404, 0.7104649391, 0.7740273584],
    [0.5418332318, 0.5791074263, 0.997816901, 0.1751685616],
    [0.9142463434, 0.3386565319, 0.3393596294, 0.5566438092],
    [0.3318505988, 0.665102895, 0.8681011978, 0.5413860292],
    [0.3460821491, 0.1369630682, 0.6167121847, 0.5935922471],
]


class Linear(nn.Module):
    """Scores of flat inputs, with BatchNorm in the way where asked."""

    def __init__(self, width=4, classes=3, norm=False):
        super().__init__()
        self.trunk = nn.Sequential(nn.Flatten(), *([nn.BatchNorm1d(width)] if norm else []))
        self.head = nn.Linear(width, classes)
        self.double()

    def features(self, inputs):
        return self.trunk(inputs)


def run_of(model, counts=(50.0, 10.0, 2.0), threat=None, **views):
    counts = torch.tensor(counts, dtype=torch.float64)
    started = Run(
        counts=counts,
        seen=counts / counts.sum(),
        progress=torch.zeros(()),
        phase=Phase("main", 1, lr=0.1, weight_decay=0.0),
        model=model,
        views=Views(**views),
        granted=RobustGrants(threat=threat or Threat(0.05, 0.02, 4)),
    )
    started.rng.manual_seed(0)
    return started


def official(threat=None):
    """The linear network of the official functions' numbers, its inputs [6, 1, 2, 2], and a run."""
    model = Linear()
    with torch.no_grad():
        model.head.weight.copy_(torch.tensor(WEIGHT))
        model.head.bias.copy_(torch.tensor(BIAS))
    return model, images(PIXELS), run_of(model, threat=threat)


def images(rows):
    return torch.tensor(rows, dtype=torch.float64).view(-1, 1, 2, 2)


def scores_of(model):
    return lambda x: model.head(model.features(x))


def entropy(model):
    return lambda x: cross_entropy(scores_of(model)(x), LABELS, reduction="sum")


def test_the_attack_is_that_of_mtards_code():
    model, x, at = official()
    moved = pgd(entropy(model), x, Threat(0.05, 0.02, 5), at, images(BOTH_SIDES))
    torch.testing.assert_close(moved, images(MOVED), rtol=0, atol=1e-8)


def test_trades_loss_is_that_of_its_code(monkeypatch):
    model, x, at = official()
    start = 0.001 * images(NORMAL)
    monkeypatch.setattr("ltbench.tracks.robust.contract.noise", lambda *given: start)
    trades = recipe("trades").methods[0]
    batch = trades.batch(Batch(x, [(LABELS, 1.0)], torch.arange(6)), at)
    scores = scores_of(model)(batch.inputs)
    loss = cross_entropy(scores[:6], LABELS) + trades.extra(Output((scores,), scores), batch, at)
    assert loss.item() == pytest.approx(1.535768462, abs=1e-6)


def test_adversarial_training_with_balanced_softmax_is_at_bsl(monkeypatch):
    model, x, at = official()
    start = 0.001 * images(NORMAL)
    monkeypatch.setattr("ltbench.tracks.robust.contract.noise", lambda *given: start)
    both = recipe("pgd-at+balanced-softmax")
    both.prepare(at)
    batch = both.batch(Batch(x, [(LABELS, 1.0)], torch.arange(6)), at)
    scores = scores_of(model)(batch.inputs)
    losses = both.criterion(both.adjust(scores, LABELS, at), LABELS, at)
    assert losses.mean().item() == pytest.approx(2.458970149, abs=1e-6)


def test_robals_regularised_loss_is_that_of_its_code():
    """Its start is not clipped and on one side, which is the attack's own from the second step."""
    model, x, at = official()
    moved = pgd(entropy(model), x, Threat(0.05, 0.02, 3), at, 0.05 * images(ONE_SIDE))
    clean, there = scores_of(model)(x), scores_of(model)(moved)
    loss = cross_entropy(there, LABELS) + 6 * divergence(clean, there).mean()
    assert loss.item() == pytest.approx(1.65746099, abs=1e-6)


def test_divergence_and_its_slope():
    torch.manual_seed(0)
    z, other = (torch.randn(5, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    expected = kl_div(other.log_softmax(1), z.softmax(1), reduction="none").sum(1)
    torch.testing.assert_close(divergence(z, other), expected)
    assert torch.autograd.gradcheck(divergence, (z, other))


def test_contrast_by_hand_and_its_slope():
    torch.manual_seed(0)
    features = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 0, 1, 1, 1, 2])
    unit = features / features.norm(dim=1, keepdim=True)
    total = 0.0
    for i in range(6):
        partners = [p for p in range(6) if p != i and labels[p] == labels[i]]
        bottom = sum((unit[i] @ unit[a] / 0.3).exp() for a in range(6) if a != i)
        for p in partners:
            total -= ((unit[i] @ unit[p] / 0.3).exp() / bottom).log() / len(partners) / 6
    torch.testing.assert_close(contrast(features, labels, 0.3), total)
    assert torch.autograd.gradcheck(lambda f: contrast(f, labels, 0.3), features)
    alike = torch.ones(5, 3, dtype=torch.float64)
    assert contrast(alike, labels[:5] * 0, 0.3).item() == pytest.approx(np.log(4))


def test_robal_without_margins_is_cross_entropy_of_cosines():
    torch.manual_seed(0)
    head, features = Head(4, 3), torch.randn(6, 4)
    torch.testing.assert_close(head(features), head(7 * features))
    scores, counts = head(features), torch.tensor([50.0, 10.0, 2.0])
    plain = adjusted(scores, LABELS, counts, margin=0.0, tau_b=0.0, tau_m=0.0)
    torch.testing.assert_close(plain, scores)
    found = adjusted(scores, LABELS, counts, margin=0.1, tau_b=1.2, tau_m=0.3)
    own = torch.tensor(0.1 * 10 + 0.3 * np.log(5))
    expected = scores[1, 1] - own + 1.2 * np.log(10 / 62)
    assert found[1, 1].item() == pytest.approx(expected.item(), abs=1e-5)
    assert found[1, 0].item() == pytest.approx(
        (scores[1, 0] + 1.2 * np.log(50 / 62)).item(), abs=1e-5
    )


def test_the_attack_stays_in_the_ball_of_standardised_pixels():
    torch.manual_seed(0)
    mean, std = (0.4, 0.5), (0.2, 0.3)
    at = run_of(Linear(8), threat=Threat(0.1, 0.05, 5), mean=mean, std=std)
    pixels = torch.rand(6, 2, 2, 2, dtype=torch.float64)
    raw_mean, raw_std = (torch.tensor(v, dtype=torch.float64).view(1, 2, 1, 1) for v in (mean, std))
    moved = at.granted.attack(at.views.plain(pixels), LABELS, at) * raw_std + raw_mean
    assert (moved - pixels).abs().max() <= 0.1 + 1e-7
    assert moved.min() >= -1e-7 and moved.max() <= 1 + 1e-7
    assert at.passes == 5 * 6


def test_the_attack_finds_the_worst_case_of_a_linear_network_of_two_classes():
    torch.manual_seed(0)
    model, x = Linear(4, 2), 0.5 + torch.zeros(3, 1, 2, 2, dtype=torch.float64)
    labels, at = torch.tensor([0, 1, 0]), run_of(model, (5.0, 5.0), Threat(0.1, 0.05, 20))
    moved = at.granted.attack(x, labels, at)
    towards = model.head.weight[1 - labels] - model.head.weight[labels]
    worst = x + 0.1 * towards.sign().view_as(x)
    torch.testing.assert_close(moved, worst.detach(), rtol=0, atol=1e-9)


def test_the_attack_leaves_the_network_as_it_was():
    model = Linear(norm=True)
    at = run_of(model)
    model.train()
    model.trunk[1].eval()
    model.head.weight.grad = torch.full_like(model.head.weight, 3.0)
    before = copy.deepcopy(model.state_dict())
    at.granted.attack(images(PIXELS), LABELS, at)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert (model.head.weight.grad == 3).all() and model.head.bias.grad is None
    assert model.training and not model.trunk[1].training


def test_no_steps_are_a_random_start_and_no_ball_is_the_input():
    model, x, _ = official()
    started = run_of(model, threat=Threat(0.1, 0.05, 0))
    moved = started.granted.attack(x, LABELS, started)
    assert 0 < (moved - x).abs().max() <= 0.1 and started.passes == 0
    nowhere = run_of(model, threat=Threat(0.0, 0.05, 3))
    assert torch.equal(nowhere.granted.attack(x, LABELS, nowhere), x)


def test_every_attack_is_at_most_as_kind_as_one():
    torch.manual_seed(0)
    model, at = Linear(64, 10), run_of(Linear(64, 10), (5.0,) * 10)
    x, y = DIGITS.train.inputs[:300].double(), DIGITS.train.labels[:300]
    plain = recipe("erm")
    with torch.no_grad():
        clean = scores_of(model)(x).argmax(1) == y
    first, every = under_attack(plain, model, x, y, 0.02, at)
    assert not (every & ~first).any() and not (every & ~clean).any()
    assert clean.sum() > every.sum()
    same = under_attack(plain, model, x, y, 0.02, at)
    assert torch.equal(same[1], every)


def test_measures_by_hand():
    labels = np.array([0, 0, 0, 0, 1, 1])
    right = {
        "clean": np.array([1, 1, 1, 1, 1, 0], bool),
        "pgd20": np.array([1, 1, 1, 0, 0, 0], bool),
        "robust": np.array([1, 1, 0, 0, 0, 0], bool),
    }
    found = robust_scores(labels, right, [100, 5], (20, 60))
    assert found["clean"] == 0.75 and found["pgd20"] == 0.375 and found["robust"] == 0.25
    assert found["robust_many"] == 0.5 and found["robust_few"] == 0 == found["robust_worst"]
    assert found["clean_disparity"] == 0.5 == found["robust_disparity"]


def short(epochs=1):
    given = protocol("digits-robust")
    return structs.replace(given, budget=structs.replace(given.budget, epochs=epochs))


def sampled(rows_per_class):
    given = short()
    threat = structs.replace(given.threat, rows_per_class=rows_per_class)
    return structs.replace(given, threat=threat)


def test_as_many_test_rows_of_each_class_are_attacked_as_the_protocol_says():
    parts = split(sampled(7), DIGITS, 0)
    test = parts.test()
    found = chosen(sampled(7), test, 10)
    assert found.labels.bincount().tolist() == [7] * 10
    every = {row.numpy().tobytes() for row in test.inputs}
    assert {row.numpy().tobytes() for row in found.inputs} <= every
    again = chosen(sampled(7), test, 10)
    assert torch.equal(found.inputs, again.inputs)
    assert chosen(short(), test, 10) is test
    arrays = run(sampled(7), recipe("erm"), 0, DIGITS, CPU).arrays
    assert {len(arrays[name]) for name in ("labels", "predicted", "pgd20", "robust")} == {70}
    assert RobustTrack().step(sampled(7), "robust", 10) == pytest.approx(1 / 70)
    assert RobustTrack().step(short(), "robust", 10) == pytest.approx(1 / 500)


def test_more_test_rows_than_there_are_are_refused_before_training():
    with pytest.raises(LTBenchError, match="51 test rows of each class, but one has 50; lower"):
        plan(sampled(51), {"": DIGITS}, CPU)


def test_plain_training_is_that_of_recognition():
    given = short(2)
    shared = {f: getattr(given, f) for f in Recognition.__struct_fields__ if hasattr(given, f)}
    twin = Recognition(**shared)
    mine, theirs = (
        made(of, recipe("erm"), 0, DIGITS, CPU) for made, of in ((run, given), (recognise, twin))
    )
    assert np.array_equal(mine.arrays["predicted"], theirs.arrays["predicted"])
    assert mine.measures["clean"] == theirs.measures["balanced_accuracy"]


def test_one_seed_gives_the_same_bits():
    first, second = (run(short(), recipe("pgd-at"), 3, DIGITS, CPU) for _ in range(2))
    assert first.measures == second.measures
    assert all(np.array_equal(first.arrays[n], second.arrays[n]) for n in first.arrays)
    assert first.timing.passes == 6.0


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_protocols_ask_for_methods_that_are_there(name):
    given = protocol(name)
    assert given.track == "robust"
    for spelling in given.recipes:
        assert recipe(spelling).methods


@pytest.mark.parametrize(
    ("threat", "message"),
    [
        ((-0.1, 0.1, 1), "eps is -0.1"),
        ((1.5, 0.1, 1), "eps is 1.5; pixels lie in"),
        ((0.1, 0.1, -1), "takes -1 steps"),
        ((0.1, -0.1, 1), "a step is -0.1 long"),
    ],
)
def test_impossible_threats_are_refused(threat, message):
    with pytest.raises(LTBenchError, match=message):
        Threat(*threat)


@pytest.mark.parametrize("line", ["eps = 0.0", "eps = 1.5", "steps = -1"])
def test_protocols_of_impossible_threats_are_refused(tmp_path, line):
    file = tmp_path / "mine.toml"
    head = 'base = "digits-robust"\nname = "mine"\nversion = 1\ndescription = "Mine."\n'
    stated = {"eps": "eps = 0.1", "step": "step = 0.05", "steps": "steps = 2"}
    stated[line.split()[0]] = line
    file.write_text(head + "[threat]\n" + "\n".join(stated.values()) + "\n")
    with pytest.raises(LTBenchError, match="threat"):
        protocol(str(file))


def test_inputs_that_are_no_pixels_are_refused():
    rows = Rows(DIGITS.train.inputs * 3, DIGITS.train.labels)
    with pytest.raises(LTBenchError, match=r"inputs from 0 to 3; .* scale them"):
        refuse_outside(protocol("digits-robust"), rows)
    model, x, at = official()
    with pytest.raises(LTBenchError, match=r"outside of the pixels' range \[0, 1\]"):
        at.granted.attack(x + 1, LABELS, at)


def test_methods_that_attack_are_refused_elsewhere():
    with pytest.raises(Unmet, match="supplies no attack; pgd-at needs that"):
        recognise(protocol("digits-lt"), recipe("pgd-at"), 0, DIGITS, CPU)
    with pytest.raises(Unmet, match="domains|groups"):
        run(short(), recipe("coral"), 0, DIGITS, CPU)


def test_the_check_of_test_rows_sees_one_that_strays():
    spy = White()
    spy.look("batch", torch.full((2, 1, 2, 2), 0.5))
    expect_unseen(spy)
    spy.look("batch", torch.ones(2, 1, 2, 2))
    with pytest.raises(Failure, match="held-out ones reached batch"):
        expect_unseen(spy)


class ByPlace(Method):
    """Takes rows for 50 of the first class, then 50 of the second, as they stand in the test split,
    which comes in portions."""

    name = "by-place"

    def scores(self, scores, run):
        rows, classes = scores.shape
        start = 0 if rows == PREDICTED_AT_ONCE else PREDICTED_AT_ONCE
        said = (start + torch.arange(rows)).clamp(max=499) // 50
        return scores * 0 + nn.functional.one_hot(said, classes)


def test_the_place_of_a_row_under_attack_tells_no_class():
    fixed = protocol("digits-robust")
    fixed = structs.replace(fixed, budget=structs.replace(fixed.budget, epochs=1))
    found = run(fixed, Recipe(ByPlace()), 0, DIGITS, CPU).measures
    assert found["pgd20"] < 0.25 and found["robust"] < 0.25  # of ten classes


class Attacking(ByPlace):
    """Takes rows by their place, and says so that it attacks."""

    name = "attacking"
    needs = frozenset({"attack"})


class Later(Attacking):
    """Answers as it should, and by place once attacks begin."""

    name = "later"

    def __init__(self):
        self.asked = 0

    def scores(self, scores, run):
        self.asked += 1
        said = torch.arange(len(scores)).clamp(max=299) // 30
        by_place = scores * 0 + nn.functional.one_hot(said, scores.shape[1])
        return scores if self.asked <= 2 else by_place


@pytest.mark.parametrize(
    ("method", "name", "message"),
    [
        (Attacking, "decoys change nothing", "changed with the order and the labels of these"),
        (Later, "attacks find alike", "stand the attacks in another order, but"),
    ],
)
def test_thorough_checks_find_what_answers_by_place(method, name, message):
    with pytest.raises(Failure, match=message):
        THOROUGH[name](Recipe(method()))


def test_thorough_checks_pass_what_is_right():
    for name in ("decoys change nothing", "attacks find alike"):
        THOROUGH[name](recipe("pgd-at+balanced-softmax"))
