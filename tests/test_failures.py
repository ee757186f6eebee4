"""Whatever a method raises or notes costs its own cells, and what is written is read again."""

import os
import sys

import pytest

import ltbench
from ltbench.results import records
from ltbench.results.records import Record

METHOD = """
import asyncio

from ltbench import Method, hookimpl


class Strange(Exception):
    def __str__(self):
        raise ValueError("no text")


class Exit(BaseException):
    pass


class Odd:
    def __repr__(self):
        raise ValueError("no text")

    __hash__ = None


class Mine(Method):
    name = "mine"

    def adjust(self, scores, labels, run):
        {line}
        return scores


@hookimpl
def register_methods(register):
    register(Mine)
"""


def run(tmp_path, tiny, line, file="mine.py", jobs=1):
    """The records of a method that does something, and of plain training beside it."""
    path = tmp_path / file
    path.write_text(METHOD.replace("{line}", line))
    made = ltbench.run(
        tiny, ["mine", "erm"], seeds=1, plugins=[path], results=tmp_path / "results", jobs=jobs
    )
    read = list(records.read_all(tmp_path / "results", "tiny"))
    assert all(isinstance(record, Record) for record in read)
    assert {record.recipe: record for record in read} == {record.recipe: record for record in made}
    assert {record.recipe: record.status for record in made}["erm"] == "ok"
    return next(record for record in made if record.recipe == "mine")


RAISED = [
    ("raise Strange()", "Strange: it cannot say what it is (mine.py, line 27)"),
    ("raise ValueError", "ValueError (mine.py, line 27)"),
    ("raise Exit('now')", "Exit: now (mine.py"),
    ("raise asyncio.CancelledError", "CancelledError"),
    ("raise SystemExit(0)", "SystemExit: 0"),
    ("raise GeneratorExit", "GeneratorExit"),
    ("raise ValueError('a' * 10**6)", "aaa ..."),
    ("raise ValueError('cannot use caf' + chr(0xDCE9))", "cannot use café (mine.py"),
    ("raise ValueError('one\\ntwo')", "one two"),
    ("raise ValueError(Odd())", "it cannot say what it is"),
]


@pytest.mark.parametrize(
    ("line", "words", "jobs"), [(*one, 1) for one in RAISED] + [(*one, 2) for one in RAISED[:4]]
)
def test_whatever_a_method_raises_fails_its_own_cell(tmp_path, tiny, line, words, jobs):
    record = run(tmp_path, tiny, line, jobs=jobs)
    assert record.status == "failed"
    assert words in record.reason
    assert len(record.reason) < 3000


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("run.note(3)", "3"),
        ("run.note(b'a')", "b'a'"),
        ("run.note({'a': {1, 2}})", "{'a': {1, 2}}"),
        ("run.note('one\\ntwo')", "one two"),
        ("run.note('caf' + chr(0xDCE9))", "café"),
        ("run.note(Odd())", "it cannot say what it is"),
        ("run.notes.append(chr(0xD800))", "\ufffd"),
        ("run.note(float('nan'))", "nan"),
    ],
)
def test_whatever_a_method_notes_becomes_text(tmp_path, tiny, line, note):
    record = run(tmp_path, tiny, f"run.notes or {line}")
    assert record.status == "ok"
    assert record.notes == [note]


def test_a_method_whose_file_is_named_in_another_encoding_runs_and_fails_like_others(
    tmp_path, tiny
):
    file = os.fsdecode(b"caf\xe9.py")
    assert run(tmp_path, tiny, "pass", file).status == "ok"
    record = run(tmp_path, tiny, "raise ValueError('no')", file)
    assert record.reason == "ValueError: no (café.py, line 27)"


def test_a_method_that_cannot_be_copied_fails_its_own_cell(tmp_path, tiny):
    record = run(
        tmp_path,
        tiny,
        "return scores\n\n    def __deepcopy__(self, memo):\n        raise Strange()\n",
    )
    assert record.status == "failed"
    assert "Strange: it cannot say what it is" in record.reason


def test_what_a_method_raises_is_no_ctrl_c(tmp_path, tiny):
    record = run(tmp_path, tiny, "raise KeyboardInterrupt")
    assert (record.status, record.reason) == ("failed", "KeyboardInterrupt (mine.py, line 27)")


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux")
def test_ctrl_c_is_no_failure_of_a_method(tmp_path, tiny, ctrl_c):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, tiny, "import os, time; os.kill(os.getppid(), 2); time.sleep(60)")
    read = records.read_all(tmp_path / "results", "tiny")
    assert "mine" not in {record.recipe for record in read}


def failing(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(METHOD.replace("{line}", "scores.shift()"))
    return path


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_traceback_is_shown_where_it_is_asked_for(tmp_path, tiny, ltbench, jobs):
    words = ("run", tiny, "-m", "mine", "--plugin", failing(tmp_path), "--jobs", jobs)
    words = (*words, "--seeds", 1, "--results", tmp_path / "results", "--fresh")
    plain, traced = ltbench(*words), ltbench(*words, "--traceback")
    line = failing(tmp_path).read_text().splitlines().index("        scores.shift()") + 1
    assert f"(mine.py, line {line})" in plain.stderr
    assert "Traceback" not in plain.stderr
    assert "Traceback" in traced.stderr
    assert "scores.shift()" in traced.stderr
    assert "LTBENCH_TRACEBACK" not in os.environ


def test_what_a_plugin_raises_as_it_is_imported_has_a_traceback_too(tmp_path, ltbench):
    path = tmp_path / "mine.py"
    path.write_text("import ltbench\n\n\ndef begin():\n    return ltbench.nothing\n\n\nbegin()\n")
    plain = ltbench("check", "mine", "--plugin", path)
    assert plain.exit_code == 2
    assert "(line 5)" in plain.stderr
    assert "Traceback" not in plain.stderr
    traced = ltbench("check", "mine", "--plugin", path, "--traceback")
    assert "in begin\n    return ltbench.nothing" in traced.stderr
