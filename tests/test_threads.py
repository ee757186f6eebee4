"""Cells use the threads of their protocol, whatever was exported."""

import json
import os
import subprocess
import sys
from itertools import pairwise

import pytest
from threadpoolctl import threadpool_info

from ltbench.training.threads import VARIABLES, bounded

METHOD = """
import os
import torch
from threadpoolctl import threadpool_info
from ltbench import Method, hookimpl
from ltbench.training.threads import VARIABLES


class Mine(Method):
    name = "mine"

    def finish(self, model, validation, run):
        pools = {pool["num_threads"] for pool in threadpool_info()}
        run.note(f"{torch.get_num_threads()} {pools} {[os.environ.get(n) for n in VARIABLES]}")
        return model


@hookimpl
def register_methods(register):
    register(Mine)
"""
OMP, BLAS = "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"
ODD = ("", "many", "4,2", "0", "")


def test_libraries_are_held_to_a_number_and_afterwards_as_they_were():
    import sklearn.ensemble  # noqa: F401, which brings pools of its own

    def state():
        pools = [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()]
        return pools, {name: os.environ.get(name) for name in VARIABLES}

    before = state()
    with bounded(3):
        assert {pool["num_threads"] for pool in threadpool_info()} == {3}
        assert {os.environ[name] for name in VARIABLES} == {"3"}
    assert state() == before


@pytest.mark.parametrize(
    "exported",
    [{OMP: "8"}, {BLAS: "8"}, *({OMP: one, BLAS: other} for one, other in pairwise(ODD))],
    ids=lambda exported: " ".join(f"{name}={value}" for name, value in exported.items()),
)
def test_what_was_exported_changes_no_cell(tiny, tmp_path, exported):
    (tmp_path / "mine.py").write_text(METHOD)
    words = ["run", "tiny.toml", "-m", "mine", "--seeds", "1", "--jobs", "1", "--plugin", "mine.py"]
    env = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-m", "ltbench", *words],
        cwd=tmp_path,
        env={**env, **exported},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    path = tmp_path / "leaderboards" / "tiny" / "records" / "mine" / "seed-0.json"
    assert json.loads(path.read_bytes())["notes"] == [f"1 {{1}} {['1'] * len(VARIABLES)}"]


def test_a_cell_in_python_has_the_threads_of_its_protocol(tiny, tmp_path, monkeypatch):
    import ltbench

    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    (tmp_path / "mine.py").write_text(METHOD)
    tiny.write_text(tiny.read_text().replace("threads = 1", "threads = 2"))
    plugin, results = tmp_path / "mine.py", tmp_path / "results"
    _, made = ltbench.run(tiny, "mine", 1, jobs=1, plugins=plugin, results=results)
    assert made.notes == [f"2 {{2}} {['2'] * len(VARIABLES)}"]
    assert os.environ["OMP_NUM_THREADS"] == "7"
