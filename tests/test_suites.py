"""What a plugin's own suite uses: checks as tests, and the marked task."""

import json
import subprocess
import sys

import pytest
import torch

from ltbench import LTBenchError, Method, Recipe
from ltbench.registry.registry import installed
from ltbench.testing import MarkedTask, check_method, parametrize_with_checks
from ltbench.testing.report import Failure
from ltbench.tracks.marked import fields
from ltbench.tracks.recognition.problem import Recognition
from ltbench.tracks.recognition.track import run

SUITE = """
from ltbench import Method
from ltbench.testing import parametrize_with_checks

class First(Method):
    name = "first"

    def adjust(self, scores, labels, run):
        return scores + scores.new_tensor([1.0] + [0.0] * (scores.shape[1] - 1))

class Known(First):
    name = "known"
    expected_failures = {"class names do not matter": "the first class is the background"}

class Surprising(Method):
    name = "surprising"
    expected_failures = {"it pickles": "we thought so", "frozen parts stay": "nothing is"}

    def adjust(self, scores, labels, run):
        return scores

class Raising(Method):
    name = "raising"

    def adjust(self, scores, labels, run):
        return scores[:, run.nothing]

@parametrize_with_checks([First, Known, Surprising, Raising])
def test_checks(method, check):
    check(method)
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What pytest says of a suite of four methods."""
    folder = tmp_path_factory.mktemp("suite")
    (folder / "test_four.py").write_text(SUITE)
    words = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "test_four.py"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 1
    return done.stdout


def outcome(told, test):
    """The outcome of a test, and what the summary says beside it."""
    (line,) = [line for line in told.splitlines() if f"[{test}]" in line and "::" in line]
    return line.partition(" ")[0], line.partition("]")[2]


def test_each_check_is_a_test_with_its_name_and_reason(told):
    assert outcome(told, "first: it pickles")[0] == "PASSED"
    assert outcome(told, "first: class names do not matter")[0] == "FAILED"
    assert "expected the same loss under other class names, but saw" in told
    assert "no phase freezes a part of the network" in told  # which is why it was skipped


def test_what_a_method_says_it_cannot_pass_is_an_expected_failure_with_its_reason(told):
    kind, why = outcome(told, "known: class names do not matter")
    assert (kind, why) == ("XFAIL", " - the first class is the background")
    assert outcome(told, "known: it pickles")[0] == "PASSED"


def test_what_passes_after_all_fails_the_suite(told):
    for name in ("it pickles", "frozen parts stay"):
        assert outcome(told, f"surprising: {name}")[0] == "FAILED"


def test_what_a_method_raises_keeps_its_traceback(told):
    assert outcome(told, "raising: it pickles")[0] == "FAILED"
    assert "return scores[:, run.nothing]" in told


def cases_of(*given, **options):
    return [case.values for case in parametrize_with_checks(*given, **options).args[1]]


def test_the_tests_are_the_checks_that_the_command_runs():
    for text in ("ldam+drw", "under-bagging", "herding"):
        names = [check.name for _, check in cases_of([text])]
        assert names == [finding.check for finding in check_method(text).findings]


def test_texts_objects_classes_and_files_are_taken(tmp_path, method_source):
    (tmp_path / "mine.py").write_text(method_source("mine"))

    class Mine(Method):
        name = "own"

        def scores(self, scores, run):
            return scores

    given = cases_of(["mine", Mine, Mine(), "mine+drw"], plugins=[tmp_path / "mine.py"])
    assert {method.text for method, _ in given} == {"mine", "own", "drw+mine"}


def test_an_unknown_name_is_told_while_tests_are_collected():
    with pytest.raises(LTBenchError, match="did you mean 'ldam'"):
        parametrize_with_checks(["ldan"])


def test_a_method_that_no_track_checks_is_skipped_with_the_reason():
    class Needy(Method):
        name = "needy"
        needs = frozenset({"sextant"})

        def scores(self, scores, run):
            return scores

    ((method, check),) = cases_of([Needy])
    with pytest.raises(pytest.skip.Exception, match="needs sextant"):
        check(method)


def test_a_check_leaves_the_process_as_it_was():
    before = torch.get_rng_state()
    for method, check in cases_of(["oversampling"]):
        if check.name == "it pickles":
            check(method)
    assert torch.equal(before, torch.get_rng_state())


def on(dataset):
    told = fields(dataset)
    data = type(told["data"])("check", dataset.fingerprint)
    return Recognition(**{**told, "data": data})


def test_the_marked_task_passes_a_track_that_keeps_test_rows(marked_task):
    dataset = marked_task.dataset
    run(on(dataset), marked_task.beside("ldam+drw"), 0, dataset, torch.device("cpu"))
    marked_task.expect_unseen()


def test_the_marked_task_finds_test_rows_in_a_hook(marked_task):
    marked_task.beside("erm").resample(marked_task.dataset.test, None)
    with pytest.raises(Failure, match="held-out ones reached resample"):
        marked_task.expect_unseen()


def test_a_marked_task_that_asked_nobody_proves_nothing():
    with pytest.raises(Failure, match="none was"):
        MarkedTask().expect_unseen()


def test_the_spy_stands_beside_objects_and_recipes(marked_task):
    assert marked_task.beside(Method()).text == "spy"
    recipe = Recipe(installed().method("ldam")())
    assert {method.name for method in marked_task.beside(recipe).methods} == {"ldam", "spy"}


def test_check_all_is_every_method_and_nothing_else(ltbench, monkeypatch):
    from ltbench.registry.registry import Registry

    two = {name: installed().method(name) for name in ("erm", "herding")}
    monkeypatch.setattr(Registry, "methods", lambda self: two)
    done = ltbench("check", "--all", "--json")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert [report["recipe"] for report in told] == [*two]
    kinds = {finding["status"] for report in told for finding in report["findings"]}
    assert kinds == {"passed", "not applicable"}
    both = ltbench("check", "erm", "--all")
    assert both.exit_code == 2
    assert "--all is every method; leave out erm" in both.stderr
