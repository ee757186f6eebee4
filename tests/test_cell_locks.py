import signal
import subprocess
import sys
import time

import pytest

from ltbench.registry.registry import installed
from ltbench.results.records import Record, path_of, read
from ltbench.running.cell_locks import Claims
from ltbench.running.execute import Limits, execute
from ltbench.running.plan import plan

SLOW = """
import time
from ltbench import Method, hookimpl

class Slow(Method):
    '''Takes its time.'''
    name = "slow"

    def build(self, model, run):
        time.sleep(0.6)
        return model

class Bad(Method):
    '''Fails.'''
    name = "bad"

    def build(self, model, run):
        raise RuntimeError("as always")

@hookimpl
def register_methods(register):
    register(Slow)
    register(Bad)
"""


@pytest.fixture
def start(tiny, tmp_path):
    """Starts the command in a process of its own."""
    (tmp_path / "slow.py").write_text(SLOW)
    started = []

    def call(*words):
        command = [sys.executable, "-m", "ltbench", "run", str(tiny), "--plugin", "slow.py", *words]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True)
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()


def test_two_runs_at_once_share_the_cells(start, tmp_path):
    runs = [start("-m", "slow", "--seeds", "6", "--jobs", "2") for _ in range(2)]
    told = [process.communicate(timeout=120)[1] for process in runs]
    assert [process.returncode for process in runs] == [0, 0], told
    held = [read(path_of(tmp_path / "leaderboards", "tiny", "slow", seed)) for seed in range(6)]
    assert all(isinstance(record, Record) and record.status == "ok" for record in held)
    seconds = sum(record.timing.seconds for record in held)
    assert seconds > 6 * 0.6  # each slept
    assert told[0].count("slow seed") == told[1].count("slow seed") == 6  # both tell of all


def test_a_cell_that_another_run_has_in_hand_is_left_to_it(tiny, tmp_path):
    planned = plan(installed(), tiny, ["erm"], 2, tmp_path / "results")
    other = Claims(tmp_path / "results", "tiny")
    first, second = planned.todo
    assert other.take(first)
    assert not Claims(tmp_path / "results", "tiny").take(first)
    assert Claims(tmp_path / "results", "tiny").taken(first)
    assert not other.taken(second)
    seen = []
    for event in execute(planned, jobs=2):
        if event.ended is not None:
            seen.append(event.ended.seed)
            if event.ended.seed == 1:
                other.release(first)  # the other has given up, so the cell is done here after all
    assert seen == [1, 0]


def test_a_record_that_another_run_has_made_since_is_taken_as_it_is(tiny, tmp_path):
    planned = plan(installed(), tiny, ["erm"], 1, tmp_path / "results")
    ended = [e.ended for e in execute(planned) if e.ended]
    again = [e.ended for e in execute(planned, 2, Limits(timeout=60)) if e.ended]
    assert again == ended  # the seconds too, so nothing was run


def test_one_interrupt_finishes_what_is_in_hand(start, tmp_path):
    process = start("-m", "slow", "--seeds", "8", "--jobs", "2")
    time.sleep(0.1)
    for line in process.stderr:
        if line.startswith("[1/16]"):  # plain training is in every run
            break
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "finishing the cells in hand; Ctrl-C again stops now" in told
    left = int(told.split(" cells left; to continue: ")[0].rsplit(" ", 1)[1])
    assert "ltbench run" in told.split("to continue: ")[1]
    records = list((tmp_path / "leaderboards" / "tiny" / "records").glob("*/seed-*.json"))
    assert 0 < left == 16 - len(records)
    assert all(isinstance(read(path), Record) for path in records)


def test_two_interrupts_stop_at_once(start, tmp_path):
    (tmp_path / "slow.py").write_text(SLOW.replace("0.6", "600"))
    process = start("-m", "slow", "--seeds", "2", "--jobs", "2")
    locks = tmp_path / "leaderboards" / "tiny" / ".locks"
    while not locks.exists() or len(list(locks.iterdir())) < 2:
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130


def test_fail_fast_stops_at_the_first_failure(start, tmp_path):
    process = start("-m", "bad", "-m", "slow", "--seeds", "20", "--jobs", "1", "--fail-fast")
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert "bad seed 0 failed: RuntimeError: as always" in told
    assert "stopped with 58 cells left" in told  # plain training was done before
