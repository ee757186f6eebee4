"""A cell is recorded whatever its track gives; what cannot be written down costs that cell."""

import math
import os
import signal
from asyncio import CancelledError
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from msgspec import Struct

from ltbench import LTBenchError, Measure, Method, Outcome, Protocol, Timing, Track
from ltbench.contract.recipes import Recipe
from ltbench.errors import Unmet
from ltbench.protocols.schema import Compute
from ltbench.registry.registry import installed
from ltbench.results.records import Record, arrays_of, read_all
from ltbench.running.cell import Cell, run_cell
from ltbench.running.execute import execute
from ltbench.running.plan import Plan
from ltbench.running.processes import Limits
from ltbench.training.method_state import Unresumable

CPU = torch.device("cpu")


class Guess(Protocol, frozen=True, kw_only=True, tag="guessing"):
    pass


class GuessingTrack(Track[Guess]):
    """Its first seed is as it should be; the others give what they are told to."""

    name = "guessing"
    problem = Guess
    measures = (Measure("hits"), Measure("misses"))

    def __init__(self, given=None):
        self.given = given

    def run(self, protocol, recipe, seed, source, device):
        if seed == 0:
            return Outcome({"hits": 0.5, "misses": None})
        if isinstance(self.given, BaseException):
            raise self.given
        return self.given


class Details(Struct, frozen=True):
    held: Any


@dataclass
class Odd:
    number: float = 1.0


PROTOCOL = Guess(
    name="guess", version=1, description="", recipes=["erm"], seeds=2, compute=Compute(threads=1)
)


def cell_of(given, seed=1):
    recipe = installed().recipe("erm")
    return Cell(GuessingTrack(given), PROTOCOL, recipe, seed, "0" * 16, {})


def timing(relative):
    return Timing(1.0, 1.0, 1.0, relative, 1.0, 0.0)


class Mute(Exception):
    def __str__(self):
        raise KeyError("text")


BAD = [
    (Outcome({"luck": 1.0}), "track guessing gave a measure 'luck' that it does not declare"),
    (Outcome({"hits": math.nan}), "track guessing gave hits the value nan; None says that there"),
    (Outcome({"hits": -math.inf}), "track guessing gave hits the value -inf"),
    (Outcome({}, transductive={"luck": 1.0}), "gave a measure 'luck' that it does not declare"),
    (Outcome({}, transductive={"hits": math.nan}), "gave hits the value nan"),
    (Outcome({"hits": "many"}), "TypeError: must be real number, not str"),
    (Outcome({}, details=Details(object())), "gave what no record holds: Encoding objects of type"),
    (Outcome({}, details=[1, 2]), "gave what no record holds: Expected object, got array"),
    (Outcome({}, recall=[object()]), "gave what no record holds: Encoding objects of type object"),
    (Outcome({}, class_counts=["few"]), "gave what no record holds: Expected int, got str"),
    (Outcome({}, timing=timing(math.inf)), "track guessing gave inf as the relative of a cost"),
    (Outcome({}, timing=timing(-1055.75)), "gave -1055.75 as the relative of a cost"),
    (Outcome({}, timing=timing(1e7)), "gave what no record holds: Expected float <= 1000000.0"),
    (Outcome({}, notes=[3]), "gave what no record holds: Expected str, got int"),
    (Outcome({}, status="great"), "gave what no record holds: Invalid enum value 'great'"),
    (Outcome({}, arrays={"seen": np.array([Odd()])}), "gave 'seen' to keep, which is no array of"),
    (Outcome({}, arrays={"seen": [1, 2]}), "gave 'seen' to keep, which is no array of numbers"),
    (None, "track guessing gave an object of NoneType, no ltbench.Outcome"),
    (ValueError("out of luck"), "ValueError: out of luck"),
    (SystemExit(3), "SystemExit: 3"),
    (KeyboardInterrupt(), "KeyboardInterrupt (test_cell.py, line "),
    (CancelledError(), "CancelledError (test_cell.py, line "),
    (ValueError(), "ValueError (test_cell.py, line "),
    (Unmet(), "Unmet"),
    (Unresumable("from nowhere"), "Unresumable: from nowhere (test_cell.py, line "),
    (Mute(), "Mute: it cannot say what it is (test_cell.py, line "),
    (Unmet("torn \udcff"), "torn ÿ"),
    (ValueError("la" * 10**6), "lala ... (test_cell.py, line "),
]


@pytest.mark.parametrize(("given", "told"), BAD, ids=[told for _, told in BAD])
def test_what_cannot_be_recorded_fails_its_cell(given, told):
    record, arrays = run_cell(cell_of(given), None, CPU)
    assert record.status == ("skipped" if isinstance(given, Unmet) else "failed")
    assert told in record.reason
    assert (record.measures, record.details, arrays) == ({}, {}, None)


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(("given", "told"), BAD[::3], ids=[told for _, told in BAD[::3]])
def test_the_other_cells_of_its_run_are_done(tmp_path, given, told, jobs):
    cells = [cell_of(given, seed) for seed in (1, 0)]
    source = {"": SimpleNamespace(fingerprint="0" * 16)}
    plan = Plan(cells[0].track, PROTOCOL, cells, [], source, CPU, tmp_path)
    list(execute(plan, jobs=jobs))
    kept = list(read_all(tmp_path, "guess"))
    assert all(isinstance(record, Record) for record in kept)
    assert [(r.seed, r.status != "ok") for r in kept] == [(0, False), (1, True)]
    assert kept[0].measures == {"hits": 0.5, "misses": None}
    assert told in kept[1].reason


def test_details_that_the_track_would_not_read_fail_the_cell():
    class Picky(GuessingTrack):
        def refused(self, record):
            return f"it holds {record.details}" if record.details else None

    cell = replace(cell_of(None), track=Picky(Outcome({"hits": 0.5}, details=Details(1))))
    record, _ = run_cell(cell, None, CPU)
    assert (record.status, record.reason) == ("failed", "it holds {'held': 1}")
    kept = replace(cell_of(None), track=Picky(Outcome({"hits": 0.5})))
    assert run_cell(kept, None, CPU)[0].status == "ok"


def test_numbers_of_numpy_and_structs_are_written_down_as_plain_ones(tmp_path):
    given = Outcome(
        {"hits": np.float32(0.25), "misses": np.float64(0.5)},
        details=Details([Details(1)]),
        arrays={"seen": np.arange(3)},
        control=True,
    )
    cell = cell_of(given)
    plan = Plan(cell.track, PROTOCOL, [cell], [], {"": None}, CPU, tmp_path)
    ended = [event.ended for event in execute(plan) if event.ended]
    (record,) = read_all(tmp_path, "guess")
    assert ended == [record]
    assert record.measures == {"hits": 0.25, "misses": 0.5}
    assert record.details == {"held": [{"held": 1}]}
    assert msgspec.convert(record.details, Details).held == [{"held": 1}]
    assert record.control
    assert arrays_of(tmp_path, record)["seen"].tolist() == [0, 1, 2]


def test_a_recipe_is_copied_so_that_no_cell_sees_what_another_left():
    class Keeps(GuessingTrack):
        def run(self, protocol, recipe, seed, source, device):
            left = getattr(recipe.methods[0], "left", 0)
            recipe.methods[0].left = left + 1
            return Outcome({"hits": float(left)})

    recipe: Recipe = installed().recipe("sam")
    cells = [Cell(Keeps(), PROTOCOL, recipe, seed, "", {}) for seed in (0, 1)]
    assert [run_cell(cell, None, CPU)[0].measures for cell in cells] == [{"hits": 0.0}] * 2


def test_a_method_whose_class_has_no_file_fails_with_the_line_that_raised():
    kind = type("Made", (Method,), {"name": "made", "__module__": "nowhere"})
    cell = replace(cell_of(ValueError("no file")), recipe=Recipe(kind()))
    record, _ = run_cell(cell, None, CPU)
    assert record.status == "failed"
    assert record.reason.startswith("ValueError: no file (test_cell.py, line ")


def test_the_users_own_interrupt_ends_the_run(ctrl_c):
    class Waits(GuessingTrack):
        def run(self, protocol, recipe, seed, source, device):
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_cell(replace(cell_of(None), track=Waits()), None, CPU)
    assert signal.getsignal(signal.SIGINT) is before


class Tells(GuessingTrack):
    """Gives the number of the process that it runs in."""

    def run(self, protocol, recipe, seed, source, device):
        return Outcome({"hits": float(os.getpid())})


@pytest.mark.parametrize("used", [False, True])
def test_a_cell_on_a_gpu_has_a_process_of_its_own_unless_this_one_uses_it(
    tmp_path, monkeypatch, used
):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: used)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a stub")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    cell = replace(cell_of(None), track=Tells())
    plan = Plan(cell.track, PROTOCOL, [cell], [], {"": None}, torch.device("cuda"), tmp_path)
    (record,) = [event.ended for event in execute(plan) if event.ended]
    assert record.environment["gpu"] == "a stub"
    assert (record.measures["hits"] == os.getpid()) is used
    with pytest.raises(LTBenchError, match="a limit of memory needs the device cpu"):
        list(execute(plan, limits=Limits(memory=100)))


def test_a_cell_on_a_gpu_that_dies_is_told_without_asking_the_gpu(tmp_path):
    class Dies(GuessingTrack):
        def run(self, protocol, recipe, seed, source, device):
            os._exit(3)

    cell = replace(cell_of(None), track=Dies())
    plan = Plan(cell.track, PROTOCOL, [cell], [], {"": None}, torch.device("cuda"), tmp_path)
    (record,) = [event.ended for event in execute(plan) if event.ended]
    assert (record.status, "exit code 3" in record.reason) == ("failed", True)
