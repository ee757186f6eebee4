import importlib
import sys
import time
from pathlib import Path

import torch

from ltbench.training.timing import Clock


def test_a_clock_tells_the_seconds_of_its_block():
    with Clock(torch.device("cpu")) as clock:
        time.sleep(0.05)
    assert 0.05 <= clock.seconds < 1


def test_work_on_a_cpu_is_time_that_was_computed_not_waited():
    with Clock(torch.device("cpu")) as waiting:
        time.sleep(0.2)
    with Clock(torch.device("cpu")) as computing:
        until = time.process_time() + 0.1
        while time.process_time() < until:
            pass
    assert waiting.work < 0.1 <= computing.work


def test_memory_is_how_far_it_rose_in_the_block():
    with Clock(torch.device("cpu")) as idle:
        pass
    with Clock(torch.device("cpu")) as busy:
        block = torch.ones(50_000_000)
        del block
    assert busy.peak_memory_mb - idle.peak_memory_mb > 150
    with Clock(torch.device("cpu")) as after:
        pass
    assert after.peak_memory_mb < 50


def test_where_no_limits_of_processes_are_told_a_clock_goes_on(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.delitem(sys.modules, "ltbench.training.timing")
    timing = importlib.import_module("ltbench.training.timing")
    monkeypatch.setattr(timing, "STATUS", Path("nowhere", "status"))
    monkeypatch.setattr(timing, "PEAK", Path("nowhere", "clear_refs"))
    with timing.Clock(torch.device("cpu")) as clock:
        sum(range(1000))
    assert clock.seconds > 0
    assert clock.peak_memory_mb == 0
