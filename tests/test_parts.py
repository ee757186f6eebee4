"""Networks, learners, metrics and tables of plugins: found by name, checked, and told apart."""

import numpy as np
import pytest
import torch

import ltbench
from ltbench import LTBenchError
from ltbench.contract import parts
from ltbench.models import build, learners
from ltbench.registry.discovery import core_code
from ltbench.registry.registry import Registry

NETWORK = """
from msgspec import Struct
from torch import nn

from ltbench import hookimpl


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    width: int = 8


class Flat(nn.Module):
    def __init__(self, shape, num_classes, options):
        super().__init__()
        self.layer = nn.Linear(shape[0] * shape[1] * shape[2], options.width)
        self.head = nn.Linear(options.width, num_classes)

    def features(self, x):
        return self.layer(x.flatten(1)).relu()


@hookimpl
def register_networks(register):
    register("NAME", Flat, Options)
"""

LEARNER = """
from sklearn.tree import DecisionTreeClassifier

from ltbench import hookimpl


@hookimpl
def register_learners(register):
    register("NAME", MAKE, max_depth=2)
"""

METRIC = """
from ltbench import Measure, hookimpl


@hookimpl
def register_metrics(register):
    register("TRACK", Measure("NAME", chosen=True), compute)


def compute(labels, predicted, num_classes):
    RETURN
"""


@pytest.fixture(autouse=True)
def shelves(monkeypatch):
    """Leaves nothing of a test to the next."""
    for shelf in (parts.NETWORKS, parts.LEARNERS):
        monkeypatch.setattr(shelf, "parts", {})


def plugin(folder, text, file="mine.py", **words):
    for word, value in words.items():
        text = text.replace(word, value)
    (folder / file).write_text(text)
    return folder / file


def protocol(folder, base, name="mine", **changes):
    """A protocol file on top of another."""
    lines = [f'base = "{base.stem}"', f'name = "{name}"', "version = 1"]
    for table, content in changes.items():
        lines += [f"[{table}]", content]
    (folder / f"{name}.toml").write_text("\n".join(lines) + "\n")
    return folder / f"{name}.toml"


def test_a_network_of_a_plugin_is_trained_and_its_code_is_told(tmp_path, tiny):
    mine = plugin(tmp_path, NETWORK, NAME="flat")
    problem = protocol(tmp_path, tiny, network='name = "flat"\nwidth = 5')
    options = {"plugins": [mine], "results": tmp_path / "results", "seeds": 1}
    (record,) = ltbench.run(problem, "erm", **options)
    assert record.status == "ok"
    network = build("flat", (1, 8, 8), 3, {"width": 5})
    assert network.features(torch.ones(2, 1, 8, 8)).shape == (2, 5)
    with pytest.raises(LTBenchError, match="unknown network 'flatt'; did you mean 'flat'"):
        build("flatt", (1, 8, 8), 3, {})
    with pytest.raises(LTBenchError, match="network flat: .*depth"):
        build("flat", (1, 8, 8), 3, {"depth": 5})
    mine.write_text(mine.read_text().replace("relu()", "tanh()"))
    core_code.cache_clear()
    again = plugin(tmp_path, mine.read_text(), "other.py", flat="flatter")
    problem = protocol(tmp_path, tiny, "other", network='name = "flatter"\nwidth = 5')
    (other,) = ltbench.run(problem, "erm", **options | {"plugins": [again]})
    assert other.environment["code"] != record.environment["code"]


def test_a_learner_of_a_plugin_is_fitted(tmp_path):
    Registry([plugin(tmp_path, LEARNER, NAME="stump", MAKE="DecisionTreeClassifier")]).tracks()
    learners.check({"stump": {"min_samples_leaf": 3}})
    assert learners.version("stump")
    made = learners.build("stump", {"min_samples_leaf": 3}, seed=7)
    assert (made.max_depth, made.min_samples_leaf, made.random_state) == (2, 3, 7)
    with pytest.raises(LTBenchError, match="unknown parameter of stump 'min_sample'"):
        learners.check({"stump": {"min_sample": 3}})


def test_what_is_no_learner_is_told_of(tmp_path):
    Registry([plugin(tmp_path, LEARNER, NAME="none", MAKE="dict")]).tracks()
    with pytest.raises(LTBenchError, match="learner none of .* lacks fit, predict_proba"):
        learners.check({"none": {}})


def test_what_is_no_network_is_told_of(tmp_path):
    text = NETWORK.replace("self.head", "self.last")
    Registry([plugin(tmp_path, text, NAME="headless")]).tracks()
    with pytest.raises(LTBenchError, match="network headless of .* lacks head"):
        build("headless", (1, 8, 8), 3, {})


@pytest.mark.parametrize(
    ("text", "words", "told"),
    [
        (NETWORK, {"NAME": "mlp"}, "the network 'mlp' is built in"),
        (LEARNER, {"NAME": "tree", "MAKE": "dict"}, "the learner 'tree' is built in"),
        (LEARNER, {"NAME": "seven", "MAKE": "7"}, "registers 'seven' and 7, where a name and a"),
        (METRIC, {"TRACK": "recognition", "NAME": "accuracy"}, "has a measure 'accuracy' already"),
        (METRIC, {"TRACK": "recognition", "NAME": "rank"}, "which boards call a column"),
        (METRIC, {"TRACK": "recognitoin", "NAME": "mine"}, "unknown track 'recognitoin'; did you"),
        (METRIC, {"TRACK": "tabular", "NAME": "mine"}, "makes its boards itself"),
    ],
)
def test_names_that_are_taken_or_do_not_fit_are_refused_in_a_line(tmp_path, text, words, told):
    with pytest.raises(LTBenchError, match=told):
        Registry([plugin(tmp_path, text, **words)]).tracks()


def test_two_plugins_cannot_bring_one_name(tmp_path):
    first = plugin(tmp_path, NETWORK, "first.py", NAME="flat")
    second = plugin(tmp_path, NETWORK, "second.py", NAME="flat")
    with pytest.raises(LTBenchError, match="the network 'flat' is taken"):
        Registry([first, second]).tracks()
    Registry([first]).tracks()  # again, as each call from Python makes a registry
    with pytest.raises(LTBenchError, match="the network 'flat' is that of .* already"):
        Registry([second]).tracks()


def test_a_metric_of_a_plugin_is_measured_ranked_and_verified(tmp_path, tiny, ltbench):
    compute = "return float((labels == predicted)[labels == num_classes - 1].mean())"
    mine = plugin(tmp_path, METRIC, TRACK="recognition", NAME="last_recall", RETURN=compute)
    shot = "shot_splits = [5, 10]\n"
    problem = protocol(
        tmp_path, tiny, scoring=f'{shot}metrics = ["last_recall", "balanced_accuracy"]'
    )
    run = ltbench("run", problem, "-m", "focal", "--plugin", mine, "--jobs", 1, "--seeds", 2)
    assert run.exit_code == 0, run.output
    assert "last_recall" in run.stdout
    options = {"plugins": [mine], "results": tmp_path / "leaderboards"}
    found = _records(problem, mine, tmp_path)
    assert len(found) == 4
    for record in found:
        assert record.measures["last_recall"] == pytest.approx(record.recall[-1])
    assert "last_recall" in ltbench_frame(problem, options)
    doctor = ltbench("doctor", problem, "--plugin", mine)
    assert "last_recall" not in doctor.stdout
    left_out = ltbench("run", problem)
    assert left_out.exit_code == 2
    assert "unknown metric 'last_recall'" in left_out.stderr


def _records(problem, mine, folder):
    return ltbench.run(problem, "focal", 2, plugins=[mine], results=folder / "leaderboards")


def ltbench_frame(problem, options):
    return ltbench.leaderboard(problem, **options).columns.tolist()


def test_a_metric_that_fails_costs_the_cell_with_its_reason(tmp_path, tiny):
    mine = plugin(tmp_path, METRIC, TRACK="recognition", NAME="bad", RETURN="return 1 / 0")
    problem = protocol(tmp_path, tiny, scoring='shot_splits = [5, 10]\nmetrics = ["bad"]')
    (record,) = ltbench.run(problem, "erm", 1, plugins=[mine], results=tmp_path / "results")
    assert record.status == "failed"
    assert record.reason.startswith("metric bad of ltbench_file_")
    assert record.reason.endswith("failed: ZeroDivisionError: division by zero")


def test_a_mean_over_networks_is_none_where_one_has_none():
    track = Registry().track("recognition")
    measure = ltbench.Measure("odd", chosen=True)
    told = iter([1.0, 3.0, None, 1.0])
    track.bring(measure, lambda labels, predicted, classes: next(told), "mine")
    labels = np.array([0, 1])
    assert track._mean_of("odd", labels, np.array([labels, labels]), 2) == 2.0
    assert track._mean_of("odd", labels, np.array([labels, labels]), 2) is None
