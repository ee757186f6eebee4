"""Killed at any instant, a run loses nothing that was finished, and ends with the same numbers."""

import contextlib
import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from ltbench.api import run
from ltbench.results.records import Record, read_all

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux")

KILLS = 50
RECIPES = ("erm", "logit-adjustment", "sam", "ldam+drw", "mixup", "crt")


def started(tiny, results):
    """The run in a process that leads a group of its own, as a shell would start it."""

    def work():
        os.setsid()
        run(tiny, RECIPES, seeds=3, results=results, jobs=2)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


def workers(pid):
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def numbers(results):
    found = list(read_all(results, "tiny"))
    assert all(isinstance(record, Record) for record in found)
    return {(r.recipe, r.seed): (r.measures, r.recall) for r in found if r.status == "ok"}


def test_fifty_kills_of_run_or_worker_change_no_number(tiny, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(tiny, RECIPES, seeds=3, results=whole)
    chance, kept, done = random.Random(0), {}, 0
    process = started(tiny, broken)
    while done < KILLS:
        time.sleep(chance.uniform(0.0, 0.25))
        victims = workers(process.pid) if chance.random() < 0.5 else [process.pid]
        for victim in chance.sample(victims, min(1, len(victims))):
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                done += 1
        if not process.is_alive() or process.pid in victims:
            process.join()
            finished = numbers(broken)
            assert kept.items() <= finished.items()  # nothing finished was lost
            kept = finished
            if len(kept) == len(RECIPES) * 3:  # begin anew, so that there is something to kill
                for path in broken.rglob("*.json"):
                    path.unlink()
                kept = {}
            process = started(tiny, broken)
    process.kill()
    process.join()
    run(tiny, RECIPES, seeds=3, results=broken, jobs=2)
    assert numbers(broken) == numbers(whole)
    left = [path.name for path in (broken / "tiny").rglob(".*") if path.name != ".locks"]
    assert len(left) <= KILLS  # at most a torn file beside each, which nothing reads
