"""What people hand to the functions of ltbench, as they write it in Python."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import ltbench
from ltbench import LTBenchError, Method, Recipe
from ltbench.results import records


class Mine(Method):
    """Scales scores."""

    name = "mine"

    def __init__(self, tau=1.0):
        self.tau = tau

    def adjust(self, scores, labels, run):
        return scores * self.tau


@pytest.fixture
def run(tmp_path, tiny, monkeypatch):
    """Runs the tiny protocol in an empty folder, one seed and job unless told otherwise."""
    monkeypatch.chdir(tmp_path)

    def call(recipes="erm", seeds=1, **more):
        return ltbench.run(tiny, recipes, seeds, **{"jobs": 1, **more})

    return call


def told(made):
    return [(str(record), record.status) for record in made]


@pytest.mark.parametrize(
    "recipes",
    [
        "erm",
        ["erm"],
        ("erm",),
        iter(["erm"]),
        ltbench.recipe("erm"),
        [ltbench.recipe("erm")],
        np.array(["erm"]),
        {"erm"},
    ],
    ids=["text", "list", "tuple", "iterator", "recipe", "recipes", "array", "set"],
)
def test_recipes_are_one_or_several(run, recipes):
    assert told(run(recipes)) == [("erm seed 0", "ok")]


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        (2, [0, 1]),
        ([0, 1], [0, 1]),
        ((1,), [1]),
        (range(1, 3), [1, 2]),
        (np.arange(2), [0, 1]),
        (np.int64(1), [0]),
        ([3, 3], [3]),
        ({7}, [7]),
        ("2", [0, 1]),
        ("3-4, 7", [3, 4, 7]),
        ("6-6,0", [0, 6]),
    ],
)
def test_seeds_are_how_many_or_which(run, seeds, expected):
    assert [record.seed for record in run(seeds=seeds)] == expected


def test_paths_are_texts_or_paths_one_or_several(run, tmp_path, tiny, monkeypatch, method_source):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.py").write_text(method_source("mine"))
    for plugins in ("mine.py", Path("mine.py"), ["mine.py"], "~/mine.py", iter([Path("mine.py")])):
        made = run("mine", plugins=plugins, results="~/there")
        assert told(made) == [("erm seed 0", "ok"), ("mine seed 0", "ok")]
    assert (tmp_path / "there" / "tiny").is_dir()
    assert len(ltbench.leaderboard(str(tiny), "~/there", plugins="mine.py")) == 2
    assert ltbench.recipe("mine", "mine.py").text == "mine"
    assert ltbench.protocol("~/tiny.toml").name == "tiny"


def test_a_protocol_may_be_an_object(run, tiny):
    protocol = ltbench.protocol(tiny)
    made = ltbench.run(protocol, "erm", 1, jobs=1)
    assert told(made) == [("erm seed 0", "ok")]
    assert ltbench.protocol(protocol) is protocol
    assert len(ltbench.leaderboard(protocol)) == 1


def test_further_arguments_are_taken_as_they_are_written(run, tmp_path):
    assert len(run(seeds=2, shard="2/2", device=torch.device("cpu"), observe="json=log")) == 1
    assert len(run(seeds=2, shard=[1, 2], observe=["json=log"], timeout=np.float32(60))) == 1
    assert (tmp_path / "log").exists()


def test_as_many_cells_run_at_a_time_as_there_are_cores(run, monkeypatch):
    asked = []

    def execute(plan, jobs, *given, **more):
        asked.append(jobs)
        return iter(())

    monkeypatch.setattr("ltbench.api.execute", execute)
    monkeypatch.setattr("ltbench.api.usable_cores", lambda: 5)
    for jobs in (None, 3):
        run(jobs=jobs)
    assert asked == [5, 3]


def test_progress_is_shown_where_it_is_asked_for(run, capsys):
    run(progress=True)
    assert "[1/1] erm seed 0" in capsys.readouterr().err
    run(seeds=[1])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"recipes": 3}, "3 is no recipe"),
        ({"recipes": [["erm"]]}, "['erm'] is no recipe"),
        ({"recipes": {"erm": 1}}, "recipes {'erm': 1}: expected one, or a list"),
        ({"recipes": [None]}, "None is no recipe"),
        ({"recipes": b"erm"}, "is no recipe"),
        ({"recipes": Method()}, "cannot be run: Method.name is ''"),
        ({"seeds": 0}, "0 seeds leave nothing to run"),
        ({"seeds": -3}, "seeds leave nothing to run"),
        ({"seeds": []}, "[] seeds leave nothing to run"),
        ({"seeds": True}, "seeds True: expected a whole number"),
        ({"seeds": 2.0}, "seeds 2.0: expected a whole number"),
        ({"seeds": "-3"}, "seeds leave nothing to run"),
        ({"seeds": "three"}, "seeds 'three': expected how many, or which, as 10-14,101"),
        ({"seeds": "4-2"}, "seeds '4-2': expected how many, or which"),
        ({"seeds": "1,,2"}, "seeds '1,,2': expected how many, or which"),
        ({"seeds": "0-999999999"}, "seeds '0-999999999': expected how many, or which"),
        ({"seeds": [0, "1"]}, "seed '1': expected a whole number from 0 on"),
        ({"seeds": [-1]}, "seed -1: expected a whole number from 0 on"),
        ({"seeds": [True]}, "seed True: expected a whole number"),
        ({"jobs": 0}, "0 jobs can run nothing"),
        ({"jobs": 1.5}, "jobs 1.5: expected a whole number"),
        ({"jobs": "2"}, "jobs '2': expected a whole number"),
        ({"timeout": 0}, "a timeout of 0 is no limit"),
        ({"timeout": -5}, "a timeout of -5 is no limit"),
        ({"timeout": float("nan")}, "a timeout of nan is no limit"),
        ({"timeout": "60"}, "a timeout of '60' is no limit"),
        ({"memory": True}, "a memory of True is no limit"),
        ({"memory": float("inf")}, "a memory of inf is no limit"),
        ({"shard": (3, 2)}, "shard 3/2 is none"),
        ({"shard": 2}, "shard 2 is none"),
        ({"shard": "half"}, "shard 'half' is none"),
        ({"shard": (1, 2, 3)}, "shard (1, 2, 3) is none"),
        ({"device": "tpu"}, "unknown device 'tpu'"),
        ({"device": 3}, "device"),
        ({"results": 3}, "results 3 is no path"),
        ({"results": ""}, "results '' is no path"),
        ({"plugins": 3}, "plugin 3 is no path"),
        ({"plugins": ["none.py"]}, "plugin file none.py does not exist"),
        ({"plugins": [None]}, "plugin None is no path"),
        ({"data": "x.csv"}, "data 'x.csv': expected paths by name"),
        ({"data": ["x=x.csv"]}, "expected paths by name"),
        ({"data": {"x": 3}}, "data 3 is no path"),
        ({"data": {3: "x"}}, "data 3 is no text"),
        ({"observe": 3}, "observer 3 is no text"),
        ({"observe": "nobody"}, "unknown observer 'nobody'"),
        ({"watch": "loud"}, "watch 'loud' is no function"),
    ],
    ids=str,
)
def test_what_cannot_be_taken_is_refused_in_a_line(run, tmp_path, given, words):
    with pytest.raises(LTBenchError) as refusal:
        run(**given)
    assert words in str(refusal.value)
    assert len(str(refusal.value).splitlines()) <= 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.toml"]


@pytest.mark.parametrize("protocol", [3, None, ["digits-lt"], object()])
def test_what_is_no_protocol_is_refused_in_a_line(protocol):
    for call in (ltbench.run, ltbench.leaderboard, ltbench.protocol):
        with pytest.raises(LTBenchError, match="is no protocol, and no name or file of one"):
            call(protocol)


def test_methods_and_recipes_may_be_objects(run):
    for recipes in (Mine(), [Mine(tau=1)], Mine, Recipe(Mine()), Mine(tau=np.float32(1))):
        assert told(run(recipes)) == [("erm seed 0", "ok"), ("mine seed 0", "ok")]
    made = run([Recipe(Mine(tau=2), *ltbench.recipe("ldam+drw").methods), "erm"])
    assert told(made) == [("erm seed 0", "ok"), ("mine(tau=2.0)+ldam+drw seed 0", "ok")]
    origin = made[1].plugins["mine"]
    assert (origin.package, len(origin.source)) == ("object", 16)
    assert made[1].plugins["ldam"].package == "ltbench"
    read = list(records.read_all(Path("leaderboards"), "tiny"))
    assert {str(record) for record in read} >= {str(record) for record in made}


SCRIPT = """
import ltbench

class Mine(ltbench.Method):
    '''Mine.'''
    name = "mine"

    def adjust(self, scores, labels, run):
        return scores * {factor}

if __name__ == "__main__":
    plain, made = ltbench.run("tiny.toml", Mine(), 1, jobs={jobs})
    print(made.status, made.plugins["mine"].source)
"""


def test_a_method_is_run_again_when_its_source_has_changed(tmp_path, tiny):
    """As a script, and as lines that have no file, in this process and beside it."""

    def ran(text, as_file):
        (tmp_path / "script.py").write_text(text)
        words = ["script.py"] if as_file else ["-c", text]
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, env=os.environ
        )
        assert done.stdout.startswith("ok "), done.stderr
        return done.stdout.split()[1]

    for as_file in (True, False):
        first = ran(SCRIPT.format(factor=1, jobs=1), as_file)
        moved = "# a word\n\n" + SCRIPT.format(factor=1, jobs=2).replace("'''Mine.'''", "'''M.'''")
        assert ran(moved, as_file) == first
        assert ran(SCRIPT.format(factor=2, jobs=1), as_file) != first


def test_an_object_takes_the_name_of_no_other_method(run):
    def named(name):
        return type("Other", (Mine,), {"name": name})()

    for methods in ([named("ldam")], [Mine(), named("mine")]):
        with pytest.raises(LTBenchError, match="which another method is called; choose another"):
            run(methods)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (Mine(tau=torch.ones(1)), "is refused"),
        (Mine(tau="a"), "mine: tau='a' is refused"),
        (type("Empty", (Method,), {"name": "empty", "ajust": len})(), "did you mean 'adjust'"),
    ],
)
def test_an_object_that_no_record_could_tell_is_refused_in_a_line(run, method, words):
    with pytest.raises(LTBenchError) as refusal:
        run(method)
    assert words in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_class_that_was_written_anew_is_taken_as_it_is_now(run):
    for _ in range(2):  # as when the cell of a notebook is run once more
        again = type("Mine", (Mine,), {"name": "mine"})
        assert told(run(again())) == [("erm seed 0", "ok"), ("mine seed 0", "ok")]
    with pytest.raises(LTBenchError, match="unknown method 'mine'"):
        ltbench.recipe("mine")


def test_the_public_names_are_shown_by_dir_and_star():
    assert {"run", "leaderboard", "recipe", "protocol", "Method", "LTBenchError"} <= set(
        dir(ltbench)
    )
    assert "import_module" not in dir(ltbench)
    names = {}
    exec("from ltbench import *", names)
    assert set(ltbench.__all__) <= names.keys()
    assert all(hasattr(ltbench, name) for name in dir(ltbench))


def test_objects_show_themselves_in_a_line(run, tiny):
    made = run()
    assert repr(made[0]).startswith("<Record of tiny: erm seed 0, ok, balanced_accuracy 0.")
    assert len(repr(made[0])) < 100
    assert repr(ltbench.protocol(tiny)).startswith("<Protocol tiny: version 1, track recognition")
    assert len(repr(ltbench.protocol(tiny))) < 100
    from ltbench.datasets.digits import load

    assert repr(load()) == "<Dataset of 1797 rows [1, 8, 8], 10 classes>"


def test_records_and_recalls_are_frames(run, tiny):
    made = run(["erm", "focal"], seeds=2)
    frame = ltbench.records(tiny)
    assert frame[["recipe", "seed"]].values.tolist() == [[one.recipe, one.seed] for one in made]
    assert frame["balanced_accuracy"].tolist() == [
        one.measures["balanced_accuracy"] for one in made
    ]
    assert (frame["status"] == "ok").all() and (frame["cost"] > 0).all()
    recalls = ltbench.recalls(tiny)
    assert len(recalls) == 4 * 10
    means = recalls.groupby(["recipe", "seed"])["recall"].mean()
    assert means.tolist() == pytest.approx(frame["balanced_accuracy"].tolist())
    assert recalls["rows"].tolist()[:10] == made[0].class_counts


def test_records_that_are_not_there_are_refused(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for frame in (ltbench.records, ltbench.recalls):
        with pytest.raises(LTBenchError, match="holds no records"):
            frame(tiny)
