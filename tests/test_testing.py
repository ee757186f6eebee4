import inspect
import re
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
import torch
from shorter import SHORTER

from ltbench import LTBenchError, Method, Recipe, Rows, Uniform
from ltbench.models.mlp import Network, Options
from ltbench.registry.registry import installed
from ltbench.testing import check_method, probe_loss, probe_scores, probe_steps, shared
from ltbench.testing.report import Failure
from ltbench.testing.task import OF_NETWORKS, trained
from ltbench.tracks.recognition.checks import decoys_change_nothing


@pytest.mark.parametrize("name", sorted(installed().methods()))
def test_every_built_in_method_passes_every_check(name):
    report = check_method(SHORTER.get(name, name))
    assert report.passed, report


@pytest.mark.parametrize(
    "recipe",
    [
        "bcl+logit-adjustment",
        "bcl+mixup",
        "ldam+drw+imbsam",
        "ldam+drw+sam",
        "lmd(share=1.0)+mixup",
        "mixup+crt",
        "muon+balanced-softmax",
        "nc-regularizer+balanced-softmax",
        "remix+cc-sam",
        "remix+nc-regularizer",
        "remix+paco",
        "ride+lws",
        "sade+sam",
        "smote+balanced-softmax",
        "ssp+ldam+drw",
        "ssp+two-phase(balance='undersampling')",
        "vs+sam",
    ],
)
def test_compositions_pass_every_check(recipe):
    report = check_method(recipe)
    assert report.passed, report


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("crt+lmd", "lmd adds a phase 'head', but another method of crt+lmd has added one"),
        ("etf-classifier+tau-norm", "the head, ETFHead, has no weights of its own for each class"),
        ("ssp+ride", "experts change what other methods build on; name them first"),
        ("ldam+bcl", "bcl takes the place of a linear head"),
        ("ride+ldam", "ldam takes the place of a linear head"),
        ("mixup+rcal", "rcal mixes rows itself"),
    ],
)
def test_compositions_that_make_no_sense_are_refused(text, words):
    with pytest.raises(LTBenchError, match=re.escape(words)):
        trained(installed().recipe(text))


class NotNeutral(Method):
    name = "neutral is plain"
    neutral = {"tau": 0.0}

    def __init__(self, tau=1.0):
        self.tau = tau

    def adjust(self, scores, labels, run):
        return scores * 2


class Unseeded(Method):
    name = "same seed same bits"

    def adjust(self, scores, labels, run):
        generator = torch.Generator()
        generator.seed()
        return scores + torch.rand(scores.shape, generator=generator)


class InPlace(Method):
    name = "inputs and chance untouched"

    def resample(self, train, run):
        train.inputs.mul_(2)
        return train


class GlobalChance(Method):
    name = "inputs and chance untouched"

    def adjust(self, scores, labels, run):
        return scores * np.random.uniform(0.9, 1.1)


class FavoursClass0(Method):
    name = "class names do not matter"

    def adjust(self, scores, labels, run):
        return scores + torch.eye(scores.shape[1], dtype=scores.dtype)[0]


class FavoursClass0Afterwards(Method):
    name = "class names do not matter"

    def scores(self, scores, run):
        return scores * torch.arange(1, scores.shape[1] + 1)


class DividesBySpread(Method):
    name = "equal counts are handled"

    def adjust(self, scores, labels, run):
        return scores - run.counts.log() / (run.counts.max() - run.counts.min())


class NeedsTwoRows(Method):
    name = "rare classes are handled"

    def adjust(self, scores, labels, run):
        return scores / (run.counts - 1).clamp(min=0) ** 0.0 + 0 / (run.counts.min() - 1)


class FourClassesAtMost(Method):
    name = "any number of classes"

    def adjust(self, scores, labels, run):
        return scores + torch.zeros(4, dtype=scores.dtype)[: scores.shape[1]]


class HasNoPickle(Method):
    name = "it pickles"

    def prepare(self, run):
        self.forget = lambda: None


class Remembers(Method):
    name = "it resumes"

    def __init__(self):
        self.steps = 0

    def adjust(self, scores, labels, run):
        self.steps += 1
        return scores * (1 + self.steps)


class LetsStatisticsDrift(Method):
    name = "frozen parts stay"
    roles = ("head",)

    def phases(self, plan, run):
        from dataclasses import replace

        return [*plan, replace(plan[-1], role="head", learn="head")]


class TwoPasses(Method):
    name = "statistics move once a step"

    def extra(self, output, batch, run):
        if run.model is not None:
            run.model.features(batch.inputs)


class WrongKind(Method):
    name = "shapes and kinds are kept"

    def scores(self, scores, run):
        return scores.float()


class LooksAtTheOthers(Method):
    name = "rows are decided alone"

    def decide(self, scores, run):
        return (scores - scores.mean(dim=0)).argmax(dim=1)


class PriorOfLastTraining(Method):
    name = "it resumes"

    def enter(self, train, run):
        self.shift = 0.0 * train.labels[0]
        return train

    def batch(self, batch, run):
        self.shift = batch.inputs.mean()
        return batch

    def scores(self, scores, run):
        return scores + self.shift * torch.arange(scores.shape[1])


class DividesByItsRows(Method):
    name = "classes without rows are handled"

    def prepare(self, run):
        self.shift = 1 / run.exact_counts

    def adjust(self, scores, labels, run):
        return scores + self.shift


class AveragesEachClass(Method):
    name = "classes without rows are handled"

    def finish(self, model, validation, run):
        features, labels = run.features(run.train.inputs), run.train.labels
        for c, weight in enumerate(model.head.weight):
            weight.copy_(features[labels == c].mean(0))
        return model


class CountsUpToTheLast(Method):
    name = "classes without rows are handled"

    def adjust(self, scores, labels, run):
        return scores + run.train.labels.bincount().log() if run.train is not None else scores


class TunesWhatItLacks(Method):
    name = "search spaces are sound"
    space = {"strength": Uniform(0, 1)}

    def scores(self, scores, run):
        return scores


BAD = [
    DividesBySpread,
    NotNeutral,
    Unseeded,
    InPlace,
    GlobalChance,
    FavoursClass0,
    FavoursClass0Afterwards,
    NeedsTwoRows,
    FourClassesAtMost,
    HasNoPickle,
    Remembers,
    LetsStatisticsDrift,
    TwoPasses,
    WrongKind,
    LooksAtTheOthers,
    PriorOfLastTraining,
    DividesByItsRows,
    AveragesEachClass,
    CountsUpToTheLast,
    TunesWhatItLacks,
]


@pytest.mark.parametrize("method", BAD, ids=lambda method: method.__name__)
def test_each_check_finds_what_it_looks_for(method):
    report = check_method(method())
    failed = {
        finding.check: finding.text for finding in report.findings if finding.status == "failed"
    }
    assert method.name in failed, report
    assert not report.passed
    assert "FAILED" in str(report)


def test_bad_methods_cover_every_check_that_a_method_can_fail():
    checks = installed().track("recognition").checks(Recipe(Method()))
    by_the_track = {"held out rows stay out", "a shared first stage changes nothing"}
    assert {method.name for method in BAD} | by_the_track == checks.keys()


class RefusesAnEmptyClass(Method):
    name = "refuses-an-empty-class"

    def prepare(self, run):
        if (run.exact_counts == 0).any():
            raise LTBenchError("each class needs a row")


def test_a_class_without_rows_may_be_refused_in_a_sentence():
    assert check_method(RefusesAnEmptyClass()).passed


@pytest.mark.parametrize(
    "text",
    [
        "balanced-softmax",
        "class-balanced",
        "equalization",
        "inverse-frequency",
        "ldam+drw",
        "logit-adjustment",
        "vs",
    ],
)
@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_a_class_without_rows_weighs_in_a_formula_as_if_it_had_one(text, progress):
    scores = torch.randn(4, 3, dtype=torch.float64)
    labels = torch.tensor([0, 2, 0, 2])
    none, single = (
        probe_loss(text, scores, labels, counts, progress) for counts in ((10, 0, 5), (10, 1, 5))
    )
    assert torch.isfinite(none)
    assert torch.equal(none, single)


def test_margins_stay_wider_for_rarer_classes_where_one_has_no_rows():
    cosines = 30 * torch.tensor([[0.5, 0.2, 0.4], [0.1, 0.3, 0.6]], dtype=torch.float64)
    losses = [
        [probe_loss(text, cosines[k : k + 1], labels, (16, 0, 1)) for text in ("ldam", "erm")]
        for k, labels in enumerate((torch.tensor([0]), torch.tensor([2])))
    ]
    # margins 0.5 / 16 ** (1/4) and 0.5 of the cosine, as with one row in the class without
    for (ldam, _), row, c, margin in zip(losses, cosines, (0, 2), (0.25, 0.5), strict=True):
        shifted = row - 30 * margin * torch.eye(3, dtype=torch.float64)[c]
        assert ldam.item() == pytest.approx((shifted.logsumexp(0) - shifted[c]).item())
    assert all(ldam > plain for ldam, plain in losses)


def test_held_out_rows_that_reach_a_hook_are_found(monkeypatch):
    from ltbench.tracks import learning

    train = learning.train

    def leaky(method, rows, run, batch_size, validation, **keywords):
        inputs = torch.cat([rows.inputs, validation.inputs])
        labels = torch.cat([rows.labels, validation.labels])
        return train(method, Rows(inputs, labels), run, batch_size, validation, **keywords)

    report = check_method("erm")
    assert report.passed
    monkeypatch.setattr(learning, "train", leaky)
    found = {finding.check: finding for finding in check_method("erm").findings}
    assert found["held out rows stay out"].status == "failed"


class Expected(Method):
    name = "expected"
    expected_failures = {"class names do not matter": "the first class is the background"}

    def adjust(self, scores, labels, run):
        return scores + torch.eye(scores.shape[1], dtype=scores.dtype)[0]


class Surprising(Method):
    name = "surprising"
    expected_failures = {"it pickles": "we thought so"}

    def adjust(self, scores, labels, run):
        return scores * 1.5


def test_an_expected_failure_passes_with_its_reason():
    report = check_method(Expected())
    assert report.passed, report
    assert "the first class is the background" in str(report)


def test_an_expected_failure_that_passes_after_all_is_told():
    report = check_method(Surprising())
    assert not report.passed
    assert "it passes after all" in str(report)


def test_probes_take_text_or_a_method_and_keep_float64():
    scores = torch.randn(3, 3, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2])
    for recipe in ("erm", Method()):
        loss = probe_loss(recipe, scores, labels, (5, 3, 1))
        assert loss.dtype == torch.float64
        assert loss.item() == pytest.approx(
            torch.nn.functional.cross_entropy(scores, labels).item()
        )
        assert probe_scores(recipe, scores, (5, 3, 1)).dtype == torch.float64


def test_probes_refuse_an_unknown_name():
    with pytest.raises(LTBenchError, match="unknown method 'nope'"):
        probe_scores("nope", torch.randn(2, 2), (5, 1))


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(2, 2).double()

    def features(self, x):
        return x


def test_probe_steps_is_sgd_and_leaves_the_model_alone():
    model = Model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x, y = torch.randn(4, 2).double(), torch.tensor([0, 1, 0, 1])
    states = probe_steps("erm", model, [(x, y)] * 3, (2, 2), 0.1, momentum=0.9, weight_decay=0.01)
    assert all(torch.equal(before[name], model.state_dict()[name]) for name in before)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    for state in states:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model.head(x), y).backward()
        optimizer.step()
        for name, tensor in model.state_dict().items():
            torch.testing.assert_close(state[name], tensor, rtol=0, atol=1e-12)


def test_probe_steps_builds_what_the_recipe_builds():
    x, y = torch.randn(4, 2).double(), torch.tensor([0, 1, 0, 1])
    (state,) = probe_steps("ldam", Model(), [(x, y)], (2, 2), 0.1)
    assert list(state) == ["head.weight"]
    assert state["head.weight"].dtype == torch.float64


class Interrupts(Method):
    name = "interrupts"

    def adjust(self, scores, labels, run):
        raise KeyboardInterrupt


class Mute(Exception):
    def __str__(self):
        raise KeyError("text")


class Mumbles(Method):
    name = "mumbles"

    def adjust(self, scores, labels, run):
        raise Mute


@pytest.mark.parametrize(
    ("method", "told"),
    [
        (Interrupts(), "it raised KeyboardInterrupt"),
        (Mumbles(), "it raised Mute: it cannot say what it is"),
    ],
)
def test_whatever_a_method_raises_is_a_finding(method, told):
    report = check_method(method)
    assert not report.passed
    assert any(finding.text.startswith(f"{told} (") for finding in report.findings)


class BrokenTrack:
    name = "broken"

    def checks(self, recipe):
        raise LookupError("no checks today")


class Tracks:
    """A registry with a stranger's track before the project's own, or alone."""

    def __init__(self, *names):
        self.names = names

    def tracks(self):
        own = {name: installed().track(name) for name in self.names}
        return {"broken": BrokenTrack(), **own}


def test_a_track_that_raises_when_asked_for_checks_costs_no_method_of_others():
    plain = check_method("logit-adjustment")
    assert check_method("logit-adjustment", Tracks("recognition")) == plain
    (finding,) = check_method("logit-adjustment", Tracks()).findings
    assert finding.status == "failed"
    told = "track broken, asked for its checks, raised LookupError: no checks today"
    assert finding.text == told


EXITS = """
    import os, sys
    import torch
    from ltbench import Method, hookimpl

    class Exits(Method):
        name = "exits"
        def adjust(self, scores, labels, run):
            print("no more", flush=True)
            os._exit(7)

    class Patches(Method):
        name = "patches"
        def adjust(self, scores, labels, run):
            torch.allclose = lambda *given: False
            return scores

    @hookimpl
    def register_methods(register):
        register(Exits)
        register(Patches)
"""


def test_a_method_that_ends_its_process_is_reported_and_the_others_are_checked(ltbench, tmp_path):
    path = tmp_path / "exits.py"
    path.write_text(textwrap.dedent(EXITS))
    done = ltbench("check", "exits", "patches", "logit-adjustment", "--plugin", path)
    assert done.exit_code == 1
    assert "exits: FAILED, 0 checks passed" in done.stdout
    assert "exit code 7" in done.stdout
    assert "it last printed: no more" in done.stdout
    assert "patches: FAILED" in done.stdout
    assert "logit-adjustment: ok" in done.stdout


class FromTheLabels(Method):
    """Finds the labels of the test rows wherever they are in memory."""

    name = "from-the-labels"

    def decide(self, scores, run):
        frame = sys._getframe()
        while "divided" not in frame.f_locals:
            frame = frame.f_back
        test = inspect.getclosurevars(frame.f_locals["divided"].mark).nonlocals["test"]()
        nearest = torch.cdist(self.inputs, test.inputs.flatten(1)).argmin(dim=1)
        return test.labels[nearest]

    def build(self, model, run):
        features = model.features
        self.parts = []
        model.features = lambda x: (self.parts.append(x.flatten(1)), features(x))[1]
        return model

    def finish(self, model, validation, run):
        self.parts.clear()
        return model

    @property
    def inputs(self):
        return torch.cat(self.parts)[-500:]


class ByPlace(Method):
    name = "by-place"

    def decide(self, scores, run):
        classes = scores.shape[1]
        return torch.arange(len(scores)) * classes // len(scores)


class AveragesNeighbours(Method):
    name = "averages-neighbours"

    def scores(self, scores, run):
        return (scores + scores.roll(1, dims=0) + scores.roll(-1, dims=0)) / 3


@pytest.mark.parametrize("method", [FromTheLabels, ByPlace, AveragesNeighbours])
def test_a_decoy_finds_what_knows_more_of_test_rows_than_their_inputs(method):
    with pytest.raises(Failure, match="changed with the order and the labels of these"):
        decoys_change_nothing(Recipe(method()))


@pytest.mark.parametrize("text", ["random", "l1"])
@pytest.mark.parametrize("method", [ByPlace, AveragesNeighbours])
def test_decoys_find_it_in_every_track_that_has_networks(text, method):
    recipe = Recipe(*installed().recipe(text).methods, method())
    track = next(one for one in installed().tracks().values() if one.checks(recipe))
    with pytest.raises(Failure, match="changed with the order and the labels of these"):
        track.thorough(recipe)["decoys change nothing"](recipe)


@pytest.mark.parametrize("text", ["erm", "random", "l1", "self-paced-ensemble", "anyloss"])
def test_thorough_checks_pass_what_is_right(text):
    method = installed().recipe(text)
    track = next(one for one in installed().tracks().values() if one.checks(method))
    found = track.thorough(method)
    assert list(found) == ["decoys change nothing"]
    found["decoys change nothing"](method)


def test_thorough_checks_are_only_run_when_asked_for(ltbench):
    assert "decoys change nothing" not in ltbench("check", "erm", "--json").stdout
    assert "decoys change nothing" in ltbench("check", "erm", "--thorough", "--json").stdout


class CombinesByCompany(Method):
    name = "combines-by-company"

    def combine(self, output, run):
        return output.heads[0] - output.heads[0].mean(dim=0)


class PredictsInTraining(Method):
    name = "predicts-in-training"

    def finish(self, model, validation, run):
        model.eval = lambda: model.train()
        return model


@pytest.mark.parametrize("method", [CombinesByCompany, PredictsInTraining])
def test_heads_and_whole_models_must_decide_each_row_alone(method):
    found = {finding.check: finding for finding in check_method(method()).findings}
    assert found["rows are decided alone"].status == "failed"
    assert "not to depend on the other rows" in found["rows are decided alone"].text


class NoiseForEachClass(Method):
    """Draws in the order of classes: other names give other draws of one distribution."""

    name = "noise-for-each-class"

    def adjust(self, scores, labels, run):
        noise = torch.randn(scores.shape, generator=run.rng, dtype=scores.dtype)
        return scores - noise.abs() / run.counts.sqrt()


def test_noise_that_is_alike_in_mean_under_other_class_names_passes():
    check = shared(OF_NETWORKS)["class names do not matter"]
    check(Recipe(NoiseForEachClass()))


class NoisyAndPartial(NoiseForEachClass):
    name = "noisy-and-partial"

    def adjust(self, scores, labels, run):
        return super().adjust(scores, labels, run) + torch.eye(scores.shape[1])[0].to(scores)


def test_noise_does_not_hide_that_a_class_is_favoured():
    with pytest.raises(Failure, match="but not its mean over draws"):
        shared(OF_NETWORKS)["class names do not matter"](Recipe(NoisyAndPartial()))


class TrainsAnew(Method):
    name = "trains-anew"

    def phases(self, plan, run):
        return [*plan, replace(plan[-1], role="anew", reset="")]


def test_a_network_that_is_trained_anew_moves_its_statistics_once_a_step():
    shared(OF_NETWORKS)["statistics move once a step"](Recipe(TrainsAnew()))


class FavoursClass0InTheHead(Method):
    name = "favours-class-0-in-the-head"
    roles = ("head",)

    def phases(self, plan, run):
        return [*plan, replace(plan[-1], role="head", learn="head", frozen_bn=True)]

    def adjust(self, scores, labels, run):
        return scores + torch.eye(scores.shape[1], dtype=scores.dtype)[0]


def test_a_loss_is_probed_in_the_phase_of_a_role():
    scores = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    labels = torch.tensor([0, 1])
    method = FavoursClass0InTheHead()
    plain, head = (probe_loss(method, scores, labels, (3, 1), role=r) for r in ("main", "head"))
    cross_entropy = torch.nn.functional.cross_entropy
    assert torch.equal(plain, cross_entropy(scores, labels))
    moved = scores + torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert torch.allclose(head, cross_entropy(moved, labels))
    with pytest.raises(LTBenchError, match="no phase has the role 'tail'; there are: main, head"):
        probe_loss(method, scores, labels, (3, 1), role="tail")


def test_later_phases_are_checked_as_the_first_one_is():
    found = {finding.check: finding for finding in check_method(FavoursClass0InTheHead()).findings}
    assert found["class names do not matter"].status == "failed"


class ActsOnTheHead(FavoursClass0InTheHead):
    """In a later phase it needs the network, of which a probe has none."""

    name = "acts-on-the-head"

    def prepare(self, run):
        if run.phase.role == "head":
            run.model.head.weight.data.clamp_(-1, 1)

    def adjust(self, scores, labels, run):
        return scores


class ActsOnTheHeadAtOnce(ActsOnTheHead):
    roles = ("main", "head")

    def prepare(self, run):
        run.model.head.weight.data.clamp_(-1, 1)


def test_a_later_phase_that_acts_on_the_network_is_left_to_trainings():
    assert check_method(ActsOnTheHead()).passed
    report = check_method(ActsOnTheHeadAtOnce())
    found = {finding.check: finding for finding in report.findings}
    assert found["class names do not matter"].status == "failed"


class WeighsByFeatures(Method):
    name = "weighs-by-features"

    def weight(self, labels, run):
        return 1 + run.output.features[: len(labels)].norm(dim=1)


def test_a_method_may_weigh_rows_by_what_the_network_puts_out():
    assert check_method(WeighsByFeatures()).passed


class LacksAnAttribute(Method):
    name = "lacks-an-attribute"

    def adjust(self, scores, labels, run):
        return scores + self.shift


def test_a_failure_names_the_line_of_the_method_and_is_said_once(monkeypatch):
    line = LacksAnAttribute.adjust.__code__.co_firstlineno + 1
    told = str(check_method(LacksAnAttribute()))
    assert told.count(f"no attribute 'shift' (test_testing.py, line {line})") == 1
    assert "same seed same bits, inputs and chance untouched" in told
    assert "Traceback" not in told
    monkeypatch.setenv("LTBENCH_TRACEBACK", "1")
    report = check_method(LacksAnAttribute())
    assert f"line {line}, in adjust\n" in str(report)
    assert "return scores + self.shift" in str(report)
    failing = [one for one in report.as_dict()["findings"] if one["status"] == "failed"]
    assert all("Traceback" in one["trace"] for one in failing)


class WidensLabelsInTheHead(ActsOnTheHead):
    """Breaks its promise in a later phase alone, with the network that it needs there."""

    name = "widens-labels-in-the-head"

    def weight(self, labels, run):
        return run.model.head.weight.new_ones(len(labels), 1)


def test_shapes_are_checked_in_later_phases_that_act_on_the_network():
    check = shared(OF_NETWORKS)["shapes and kinds are kept"]
    check(Recipe(ActsOnTheHead()))
    with pytest.raises(Failure, match=r"expected weight to give .* \[8\], but saw .* \[8, 1\]"):
        check(Recipe(WidensLabelsInTheHead()))


def test_steps_are_probed_in_the_phase_of_a_role():
    torch.manual_seed(0)
    model = Network((1, 2, 2), 2, Options([3], batch_norm=True)).double()
    batches = [(torch.randn(4, 1, 2, 2).double(), torch.tensor([0, 1, 1, 0]))]
    (state,) = probe_steps(FavoursClass0InTheHead(), model, batches, (3, 1), 0.1, role="head")
    begun = model.state_dict()
    moved = {name for name in begun if not torch.equal(begun[name], state[name])}
    assert moved == {"head.weight", "head.bias"}
    features = model.eval().features(batches[0][0])  # its statistics stand still
    scores = model.head(features) + torch.tensor([1.0, 0.0])
    torch.nn.functional.cross_entropy(scores, batches[0][1]).backward()
    expected = model.head.bias.detach() - 0.1 * model.head.bias.grad
    torch.testing.assert_close(state["head.bias"], expected)
