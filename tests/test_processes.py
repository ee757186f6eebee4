import contextlib
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch

from ltbench import LTBenchError
from ltbench.api import run
from ltbench.running.processes import Limits, Worker, can_fork
from ltbench.tracks import learning

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux")

HOSTILE = """
    import ctypes, os, subprocess, sys, threading, time
    import torch
    from ltbench import Method, hookimpl
    from ltbench.tracks import learning
    from ltbench.training import timing

    class Hangs(Method):
        name = "hangs"
        def adjust(self, scores, labels, run):
            print("looking for the way out")
            os.write(1, b"there is none\\n")
            ctypes.CDLL(None).pause()  # in C, where no exception reaches it

    class Hoards(Method):
        name = "hoards"
        def prepare(self, run):
            self.kept = torch.ones(2**30)  # 4 GB

    class Crashes(Method):
        name = "crashes"
        def adjust(self, scores, labels, run):
            print("reading from nowhere", flush=True)
            ctypes.string_at(0)

    class Leaves(Method):
        name = "leaves"
        def prepare(self, run):
            if os.fork() == 0:
                time.sleep(1000)  # a child that keeps the pipe open
            os._exit(5)

    class Closes(Method):
        name = "closes"
        def prepare(self, run):
            sys.stdout.close()
            os.closerange(1, 3)

    class Threads(Method):
        name = "threads"
        def finish(self, model, validation, run):
            for _ in range(50):
                threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
            return model

    class Reseeds(Method):
        name = "reseeds"
        def prepare(self, run):
            torch.manual_seed(0)
            torch.set_default_dtype(torch.float64)
            os.chdir("/")

    class Loops(Method):
        name = "loops"
        def prepare(self, run):
            while True:
                pass

    class Floods(Method):
        name = "floods"
        def prepare(self, run):
            while True:
                print("and again")

    class Stops(Method):
        name = "stops"
        def prepare(self, run):
            os.kill(os.getpid(), 19)

    class Exits(Method):
        name = "exits"
        def prepare(self, run):
            sys.exit(0)

    class Interrupts(Method):
        name = "interrupts"
        def prepare(self, run):
            raise KeyboardInterrupt

    class Recurses(Method):
        name = "recurses"
        def prepare(self, run):
            self.prepare(run)

    class Raises(Method):
        name = "raises"
        def prepare(self, run):
            raise type("Strange", (BaseException,), {})

    class Patches(Method):
        name = "patches"
        def build(self, model, run):
            timed = learning.timed
            learning.timed = lambda clock, reference, *rest: timed(clock, 1e9, *rest)
            return model
        def prepare(self, run):
            torch.exp = None

    class StopsClock(Method):
        name = "stops-clock"
        def build(self, model, run):
            timing._worked = lambda: 0.0
            return model

    class Diverges(Method):
        name = "diverges"
        def criterion(self, scores, labels, run):
            return scores.sum(dim=1) * float("nan")

    @hookimpl
    def register_methods(register):
        for value in list(globals().values()):
            if isinstance(value, type) and issubclass(value, Method) and value is not Method:
                register(value)
"""


@pytest.fixture
def go(tiny, tmp_path):
    path = tmp_path / "hostile.py"
    path.write_text(textwrap.dedent(HOSTILE))

    def call(*recipes, **options):
        options = {"seeds": 1, "jobs": 2, "timeout": 20, **options}
        found = run(tiny, recipes, results=tmp_path / "results", plugins=[path], **options)
        return {record.recipe: record for record in found}

    return call


def test_a_cell_that_hangs_is_killed_with_its_last_words(go):
    found = go("hangs", "erm", timeout=3)
    assert found["erm"].status == "ok"
    assert found["hangs"].status == "timeout"
    assert found["hangs"].reason.startswith("killed after 3 s; it last printed: ")
    assert "there is none" in found["hangs"].reason


def test_a_cell_that_hoards_memory_is_stopped(go):
    found = go("hoards", "erm", memory=1500)
    assert found["erm"].status == "ok"
    assert found["hoards"].status == "out-of-memory"
    assert "hostile.py" in found["hoards"].reason


def test_a_crash_in_c_is_a_failed_cell(go):
    found = go("crashes", "erm")
    assert found["erm"].status == "ok"
    assert found["crashes"].status == "failed"
    expected = "its process ended with signal 11 before the cell was done; it last printed: "
    assert found["crashes"].reason.startswith(expected)
    assert "reading from nowhere" in found["crashes"].reason


def test_a_process_that_leaves_a_child_behind_ends_its_cell(go):
    found = go("leaves", "erm")
    assert found["erm"].status == "ok"
    assert (found["leaves"].status, "exit code 5" in found["leaves"].reason) == ("failed", True)


def test_a_method_that_misbehaves_within_its_process_changes_no_other_cell(go):
    alone = go("erm")
    among = go("closes", "threads", "reseeds", "erm", fresh=True)
    assert among["erm"].measures == alone["erm"].measures
    assert among["closes"].status == among["threads"].status == "ok"


def test_a_cell_that_was_killed_is_tried_again(go):
    started = time.monotonic()
    for _ in range(2):
        assert go("hangs", timeout=1)["hangs"].status == "timeout"
    assert time.monotonic() - started > 2


def test_a_worker_is_killed_with_all_it_started(tmp_path):
    note = tmp_path / "pid"

    def work():
        child = os.fork()
        if child == 0:
            time.sleep(1000)
        note.write_text(str(child))
        time.sleep(1000)

    worker = Worker(work, Limits())
    while not note.exists() or not note.read_text():
        time.sleep(0.01)
    worker.kill()
    for _ in range(200):
        if gone(int(note.read_text())):
            return
        time.sleep(0.01)
    raise AssertionError("the worker's child outlived it")


def test_a_worker_dies_with_the_process_that_started_it(tmp_path):
    note = tmp_path / "pid"

    def work():
        note.write_text(str(os.getpid()))
        time.sleep(1000)

    def start():
        Worker(work, Limits()).result()

    parent = multiprocessing.get_context("fork").Process(target=start)
    parent.start()
    while not note.exists() or not note.read_text():
        time.sleep(0.01)
    worker = int(note.read_text())
    parent.kill()
    parent.join()
    try:
        for _ in range(500):
            if gone(worker):
                return
            time.sleep(0.01)
        raise AssertionError("the worker outlived the process that started it")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)


def gone(pid):
    """Whether a process is no more, or only waits to be collected."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_limits_that_cannot_be_kept_are_refused(go, monkeypatch):
    monkeypatch.setattr("ltbench.running.execute.can_fork", lambda device: False)
    with pytest.raises(LTBenchError, match="needs Linux, and a process that has not used the GPU"):
        go("erm", memory=100)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"jobs": 0}, "0 jobs can run nothing; at least 1 is needed"),
        ({"jobs": -2}, "-2 jobs can run nothing"),
        ({"jobs": 1.5}, "jobs 1.5: expected a whole number"),
        ({"jobs": float("nan")}, "jobs nan: expected a whole number"),
        ({"timeout": 0}, "a timeout of 0 is no limit; it must be above 0"),
        ({"timeout": -1.5}, "a timeout of -1.5 is no limit"),
        ({"memory": 0.0}, "a memory of 0 is no limit"),
        ({"memory": float("inf")}, "a memory of inf is no limit"),
    ],
)
def test_jobs_and_limits_that_are_none_are_refused(go, options, told):
    with pytest.raises(LTBenchError, match=re.escape(told)):
        go("erm", **options)


USED = {
    "scikit-learn": """
        import numpy as np
        from sklearn.ensemble import HistGradientBoostingClassifier
        x = np.random.rand(2000, 10)
        HistGradientBoostingClassifier(max_iter=2).fit(x, x[:, 0] > 0.5)
    """,
    "torch": """
        import torch
        torch.set_num_threads(2)
        x = torch.rand(1000, 1000)
        torch.exp(x @ x)
    """,
    "a protocol of two threads": "",
}


@pytest.mark.parametrize("used", USED)
def test_cells_end_whatever_used_openmp_before_they_were_forked(tiny, tmp_path, used):
    if not USED[used]:
        tiny.write_text(tiny.read_text().replace("threads = 1", "threads = 2"))
    script = tmp_path / "notebook.py"
    run = f"""
        import ltbench
        found = ltbench.run({str(tiny)!r}, ["erm"], 2, jobs=2, timeout=120)
        print([record.status for record in found])
    """
    script.write_text(textwrap.dedent(USED[used]) + textwrap.dedent(run))
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, timeout=500
    )
    assert done.stdout.decode().strip() == "['ok', 'ok']", done.stderr.decode()


def test_nothing_is_forked_where_openmp_cannot_be_ended(monkeypatch):
    class Old:
        omp_pause_resource_all = None

    assert can_fork()
    monkeypatch.setattr("ltbench.running.processes._openmps", lambda modules: [Old()])
    assert not can_fork()


def test_the_gpu_is_left_to_forked_processes_until_this_one_uses_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    assert can_fork(torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert not can_fork(torch.device("cuda"))
    assert can_fork(torch.device("cpu"))


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_a_method_patches_reaches_no_other_cell(go, jobs):
    before = learning.timed
    found = go("patches", "erm", "sam", seeds=2, jobs=jobs, timeout=None)
    assert found["patches"].timing.reference_work > 1e8
    assert max(found[name].timing.reference_work for name in ("erm", "sam")) < 1e6
    assert learning.timed is before


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_clock_that_stands_still_costs_its_own_cell(go, jobs):
    found = go("stops-clock", "erm", jobs=jobs, timeout=None)
    assert found["erm"].status == "ok"
    assert found["stops-clock"].status == "failed"
    assert "of plain training is no cost" in found["stops-clock"].reason


def test_twelve_hostile_methods_among_forty_cells_cost_their_own_rows_alone(go):
    good = [f"logit-adjustment(tau={k / 10})" for k in range(1, 29)]
    right = {
        **dict.fromkeys(["hangs", "loops", "floods", "stops"], "timeout"),
        "hoards": "out-of-memory",
        **dict.fromkeys(["crashes", "leaves", "exits", "interrupts", "recurses"], "failed"),
        **dict.fromkeys(["raises", "diverges"], "failed"),
    }
    mixed = [*right, *good]
    found = go(*sorted(mixed), timeout=8, memory=1500)
    assert {name: found.pop(name).status for name in right} == right
    assert {record.status for record in found.values()} == {"ok"}
    alone = go(*good, fresh=True, timeout=None)
    assert {name: r.measures for name, r in found.items()} == {
        name: r.measures for name, r in alone.items()
    }
