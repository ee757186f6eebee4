"""Cells in processes that are started anew, as where there is no fork."""

import os
import time

import numpy as np
import pytest

import ltbench
from ltbench import LTBenchError, Method
from ltbench.registry.registry import Registry
from ltbench.results import records
from ltbench.running.execute import execute
from ltbench.running.plan import plan

METHOD = """
import os
import time

from ltbench import Method, hookimpl


class Mine(Method):
    name = "mine"

    def __init__(self, does: str = ""):
        self.does = does

    def finish(self, model, validation, run):
        if self.does == "dies":
            print("last words")
            os._exit(7)
        if self.does == "raises":
            raise KeyError("as always")
        if self.does == "hangs":
            time.sleep(600)
        run.note(f"made in process {os.getpid()}")
        return model


@hookimpl
def register_methods(register):
    register(Mine)
"""


@pytest.fixture(autouse=True)
def no_fork(monkeypatch):
    """As on a system without fork; what is started anew does not know of it, and need not."""
    monkeypatch.setattr("ltbench.running.plan.can_fork", lambda device=None: False)
    monkeypatch.setattr("ltbench.running.execute.can_fork", lambda device=None: False)


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(METHOD)
    return path


def test_several_cells_at_a_time_have_the_bits_of_cells_in_one_process(tiny, mine, tmp_path):
    given = {"plugins": [mine], "seeds": 1}
    heard = []
    planned = plan(Registry([mine]), tiny, ["mine", "crt"], 1, tmp_path / "a")
    spawned = [event.ended for event in execute(planned, 2, watch=heard.append) if event.ended]
    spawned.sort(key=lambda record: record.recipe)
    here = ltbench.run(tiny, ["mine", "crt"], **given, jobs=1, results=tmp_path / "b")
    for one, other in zip(spawned, here, strict=True):
        assert (one.status, one.recipe) == ("ok", other.recipe)
        assert one.measures == other.measures
        first, second = (
            records.arrays_of(tmp_path / folder, record)
            for folder, record in (("a", one), ("b", other))
        )
        assert all(np.array_equal(first[name], second[name]) for name in first)
    notes = [note for record in spawned for note in record.notes if "process" in note]
    assert notes and f"made in process {os.getpid()}" not in notes
    within = {str(event.within) for event in heard if event.within}
    assert within and within <= {f"{one} seed 0" for one in ("erm", "mine", "crt")}


def test_what_a_cell_does_to_its_process_costs_that_cell_alone(tiny, mine, tmp_path):
    recipes = ["mine(does='dies')", "mine(does='raises')", "mine(does='hangs')"]
    began = time.monotonic()
    made = ltbench.run(
        tiny, recipes, 1, plugins=[mine], jobs=2, timeout=45, results=tmp_path / "results"
    )
    assert time.monotonic() - began < 500  # and not the 600 for which one hangs
    found = {record.recipe: (record.status, record.reason) for record in made}
    assert found.pop("erm") == ("ok", "")
    status, reason = found["mine(does='dies')"]
    assert status == "failed"
    assert reason.startswith("its process ended with exit code 7 before the cell was done")
    assert reason.endswith("it last printed: last words")
    assert found["mine(does='raises')"][1].startswith("KeyError: 'as always' (mine.py, line ")
    assert found["mine(does='hangs')"] == ("timeout", "killed after 45 s")


class Handed(Method):
    name = "handed"


def test_methods_that_are_objects_run_here_and_have_no_timeout(tiny, tmp_path):
    made = ltbench.run(tiny, [Handed()], 1, jobs=2, results=tmp_path / "results")
    assert {record.status for record in made} == {"ok"}
    with pytest.raises(LTBenchError, match="handed over as objects needs Linux"):
        ltbench.run(tiny, [Handed()], 1, timeout=60, fresh=True, results=tmp_path / "results")
