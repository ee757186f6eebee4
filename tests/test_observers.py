"""Who is told of a run hears all of it, and changes nothing."""

import json
import re
import sys
import textwrap

import pytest

import ltbench as package
from ltbench import LTBenchError
from ltbench.api import run
from ltbench.registry.registry import Registry, installed
from ltbench.running.json_log import JsonLog

OBSERVERS = """
    import os
    import numpy, torch
    from pathlib import Path
    from ltbench import Method, Observer, hookimpl
    from ltbench.training import events

    class Noisy(Method):
        name = "noisy"
        def adjust(self, scores, labels, run):
            return scores + torch.rand_like(scores) + float(numpy.random.rand())

    class Chatters(Method):
        name = "chatters"
        def adjust(self, scores, labels, run):
            while True:
                events.say("and again")

    class Leaves(Method):
        name = "leaves"
        def prepare(self, run):
            if run.progress > 0.4:
                os._exit(3)

    class Reseeds(Observer):
        def epoch(self, cell, epoch):
            assert not torch.is_inference_mode_enabled()
            torch.manual_seed(epoch.epoch)
            numpy.random.seed(0)
            torch.set_default_dtype(torch.float64)
            os.chdir("/")
            Path(self.argument, f"heard-{epoch.epoch}").touch()

    class Breaks(Observer):
        def epoch(self, cell, epoch):
            raise ValueError("it broke")

    def refuses(argument):
        raise KeyError("an argument")

    @hookimpl
    def register_methods(register):
        for method in (Noisy, Chatters, Leaves):
            register(method)

    @hookimpl
    def register_observers(register):
        register("reseeds", Reseeds)
        register("breaks", Breaks)
        register("refuses", refuses)
        register("no-observer", str)
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No stage of another test is begun from, of whose epochs nothing would be told."""
    monkeypatch.setenv("LTBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "watching.py"
    path.write_text(textwrap.dedent(OBSERVERS))
    return path


@pytest.fixture
def go(tiny, tmp_path, plugin):
    """Runs the tiny protocol with observers; gives the records by recipe."""

    def call(*recipes, **options):
        options = {"seeds": 1, "fresh": True, "plugins": [plugin], **options}
        found = run(tiny, recipes, results=tmp_path / "results", **options)
        return {record.recipe: record for record in found}

    return call


@pytest.fixture
def logged(go, tmp_path):
    """Runs with a JSON log and gives its lines."""

    def call(*recipes, **options):
        path = tmp_path / "log.jsonl"
        path.unlink(missing_ok=True)
        go(*recipes, observe=[f"json={path}"], **options)
        return [json.loads(line) for line in path.read_text().splitlines()]

    return call


def of(recipe, lines):
    """The lines of one recipe's cells."""
    return [line for line in lines if line.get("recipe") == recipe]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_json_log_tells_all_of_a_run(logged, jobs):
    lines = logged("crt", "logit-adjustment", jobs=jobs, sharing=False)
    assert [lines[0]["event"], lines[-1]["event"]] == ["run-began", "run-ended"]
    assert (lines[0]["cells"], lines[0]["todo"]) == (3, 3)  # plain training too
    assert lines[-1]["status"] == {"ok": 3}
    own = of("crt", lines)
    assert [line["event"] for line in own] == ["cell-began", *["epoch"] * 9, "cell-ended"]
    assert [line["epoch"] for line in own[1:-1]] == list(range(1, 10))
    assert [line["share"] for line in own[1:-1]] == [round(k / 9, 4) for k in range(1, 10)]
    assert own[8]["loss"] < own[1]["loss"]
    assert own[-1]["status"] == "ok"
    assert own[-1]["measures"].keys() >= {"balanced_accuracy", "many", "few"}


def test_the_fields_of_a_json_log_are_those_told_of(logged):
    told = set(re.findall(r"`(\w+)`", JsonLog.__doc__))
    assert {key for line in logged("erm") for key in line} <= told


def test_a_json_log_is_appended_to(go, tmp_path):
    path = tmp_path / "log.jsonl"
    for _ in range(2):
        go("erm", observe=[f"json={path}"])
    events = [json.loads(line)["event"] for line in path.read_text().splitlines()]
    assert events.count("run-began") == events.count("run-ended") == 2


def test_a_json_log_on_standard_error_takes_the_place_of_other_lines(ltbench, tiny):
    done = ltbench("run", tiny, "-m", "erm", "--seeds", 1, "--jobs", 1, "--log-json", "-")
    *lines, last = done.stderr.splitlines()
    assert [json.loads(line)["event"] for line in lines[:2]] == ["run-began", "cell-began"]
    assert json.loads(lines[-1])["event"] == "run-ended"
    assert "table.md written" in last


def test_a_json_log_that_cannot_be_written_is_refused(ltbench, tiny, tmp_path):
    done = ltbench("run", tiny, "--log-json", tmp_path)
    assert done.exit_code == 2
    assert f"{tmp_path} cannot be written: Is a directory" in done.stderr


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_observer_changes_no_bit(go, tmp_path, jobs):
    alone = go("noisy", "mixup", jobs=jobs)
    watched = go("noisy", "mixup", jobs=jobs, observe=[f"reseeds={tmp_path}"])
    assert (tmp_path / "heard-8").exists()
    for name, record in alone.items():
        assert (record.measures, record.recall) == (watched[name].measures, watched[name].recall)


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_observer_that_raises_costs_a_warning_once(go, capsys, jobs):
    found = go("erm", "sam", jobs=jobs, observe=["breaks"])
    assert [record.status for record in found.values()] == ["ok", "ok"]
    told = [line for line in capsys.readouterr().err.splitlines() if "observer" in line]
    assert told == ["observer breaks is left out from here on: ValueError: it broke"]


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux")
def test_a_cell_that_never_stops_talking_is_killed_in_time(logged):
    lines = of("chatters", logged("chatters", timeout=1.5))
    assert [line["status"] for line in lines if line["event"] == "cell-ended"] == ["timeout"]
    assert {line["text"] for line in lines if line["event"] == "note"} == {"and again"}


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux")
def test_what_a_cell_told_before_its_process_died_is_heard(logged):
    lines = of("leaves", logged("leaves", jobs=2))
    assert [line["epoch"] for line in lines if line["event"] == "epoch"] == [1, 2, 3, 4]
    assert [line["status"] for line in lines if line["event"] == "cell-ended"] == ["failed"]


def test_an_unknown_observer_is_refused_with_the_nearest(ltbench, tiny):
    done = ltbench("run", tiny, "--observe", "tensorbord=logs")
    assert done.exit_code == 2
    assert "unknown observer 'tensorbord'; did you mean 'tensorboard'?" in done.stderr
    assert ltbench("list", "observers").stdout.splitlines()[-1].startswith("tensorboard ")


def test_an_observer_that_cannot_begin_is_refused(ltbench, tiny, plugin):
    done = ltbench("run", tiny, "--plugin", plugin, "--observe", "refuses=x")
    assert done.exit_code == 2
    assert "observer refuses=x cannot begin: KeyError: 'an argument'" in done.stderr
    done = ltbench("run", tiny, "--plugin", plugin, "--observe", "no-observer=x")
    assert done.exit_code == 2
    assert "observer no-observer=x is no ltbench.Observer, but 'x'" in done.stderr


def test_observers_are_listed_and_told_of(ltbench, plugin):
    listed = json.loads(ltbench("list", "observers", "--plugin", plugin, "--json").stdout)
    names = ["breaks", "json", "mlflow", "no-observer", "refuses", "reseeds", "tensorboard"]
    assert [entry["name"] for entry in listed] == names
    assert "a folder for each cell" in ltbench("info", "tensorboard").stdout
    provided = {p["plugin"]: p["provides"] for p in json.loads(ltbench("plugins", "--json").stdout)}
    assert provided["mlflow"] == ["mlflow"]


def test_the_name_of_an_observer_of_our_own_cannot_be_taken(install):
    install(
        "their-log",
        """
        from ltbench import Observer, hookimpl

        @hookimpl
        def register_observers(register):
            register("json", Observer)
        """,
    )
    registry = Registry()
    assert registry.observers()["json"] is JsonLog
    assert [str(left_out) for left_out in registry.left_out] == [
        "plugin 'their-log' of their-log left out: the name 'json' is built in"
    ]


@pytest.mark.parametrize(
    ("name", "module"), [("tensorboard", "torch.utils.tensorboard"), ("mlflow", "mlflow")]
)
def test_an_observer_without_its_package_says_what_brings_it(monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    told = rf"^{name} is not installed; pip install 'ltbench\[{name}\]' brings it$"
    with pytest.raises(LTBenchError, match=told):
        installed().observer(name)("")


def test_tensorboard_shows_losses_and_results(go, tmp_path):
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    record = go("erm", jobs=2, observe=[f"tensorboard={tmp_path / 'tb'}"])["erm"]
    events = EventAccumulator(str(tmp_path / "tb" / "tiny" / "erm seed 0")).Reload()
    losses = events.Scalars("loss")
    assert [scalar.step for scalar in losses] == list(range(1, 9))
    assert losses[-1].value < losses[0].value
    (score,) = events.Scalars("test/balanced_accuracy")
    assert score.value == pytest.approx(record.measures["balanced_accuracy"])
    assert score.step == 8


def test_mlflow_keeps_losses_and_results(go, tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    from mlflow import MlflowClient

    found = go("erm", "leaves", jobs=2, observe=[f"mlflow={tmp_path / 'ml'}"])
    client = MlflowClient((tmp_path / "ml").as_uri())
    experiment = client.get_experiment_by_name("tiny").experiment_id
    kept = {one.data.params["recipe"]: one for one in client.search_runs([experiment])}
    assert kept["erm"].info.run_name == "erm seed 0"
    losses = client.get_metric_history(kept["erm"].info.run_id, "loss")
    assert [metric.step for metric in losses] == list(range(1, 9))
    score = found["erm"].measures["balanced_accuracy"]
    assert kept["erm"].data.metrics["balanced_accuracy"] == pytest.approx(score)
    assert (kept["erm"].info.status, kept["leaves"].info.status) == ("FINISHED", "FAILED")
    assert "exit code 3" in kept["leaves"].data.tags["reason"]


SMALL = """
name = "small"
version = 1
track = "tabular"
description = "A table, for tests."
recipes = ["erm"]
seeds = 1

[tables.wine]
source = "scikit-learn/wine"
fingerprint = "1570c9b303c0563f"
factor = 5

[learners]
logistic = {}
tree = {max_depth = 3}

[scoring]
folds = 2

[compute]
threads = 1
"""
DISTILLED = """
base = "distill-digits"
name = "distilled"
seeds = 1
networks = 2
steps = 4
recipes = ["random"]

[distilling]
ipc = 1
iterations = 1
networks = 1
epochs = 1

[budget]
epochs = 1
"""


@pytest.mark.parametrize("text", [SMALL, DISTILLED])
def test_cells_of_every_track_tell_how_far_they_are(tmp_path, text):
    path, log = tmp_path / "protocol.toml", tmp_path / "log.jsonl"
    path.write_text(text)
    package.run(path, results=tmp_path, observe=[f"json={log}"])
    shares = {}
    for line in map(json.loads, log.read_text().splitlines()):
        if line["event"] == "epoch":
            shares.setdefault(line["recipe"], []).append(line["share"])
    assert len(shares) >= 3
    for told in shares.values():
        assert told == sorted(told)
        assert len(set(told)) > 1
        assert told[-1] == 1
