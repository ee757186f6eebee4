"""A cell that was killed in its midst continues, and ends in the bits of one in peace."""

import hashlib
import io
import json
import math
import multiprocessing
import os
import random
import sys
import textwrap
import time

import numpy as np
import pytest
import torch

from ltbench import Method, Recipe, Rows
from ltbench.api import run
from ltbench.results import records
from ltbench.results.records import arrays_of, read
from ltbench.testing.probes import probe_run
from ltbench.training import checkpoints, engine, method_state
from ltbench.training.checkpoints import path_of
from ltbench.training.timing import Clock, aside

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux")

METHODS = """
    import os
    from dataclasses import replace
    from pathlib import Path
    import torch
    from ltbench import Method, Rows, hookimpl

    HERE = Path(__file__).parent

    class Killer(Method):
        name = "killer"
        roles = ("main", "head")

        def __init__(self, role: str = "main", at: float = 0.6, whole: bool = False):
            self.role = role
            self.at = at
            self.whole = whole

        def batch(self, batch, run):
            there = run.phase.role == self.role and run.progress >= self.at
            if there and not (HERE / "killed").exists():
                (HERE / "killed").touch()
                if self.whole:  # the process of the run, which is that of no cell
                    os.kill(os.getppid(), 9)
                os.kill(os.getpid(), 9)
            return batch

        def finish(self, model, validation, run):
            torch.save(model.state_dict(), HERE / "weights")
            return model

    class Counts(Method):
        name = "counts"
        def adjust(self, scores, labels, run):
            self.steps = getattr(self, "steps", 0) + 1
            self.recent = [scores.detach().mean(), *getattr(self, "recent", [])][:3]
            return scores * (1 + self.steps / 100) + sum(self.recent)

    class Holds(Method):
        name = "holds"
        def adjust(self, scores, labels, run):
            if not hasattr(self, "teacher"):
                self.teacher = torch.nn.Linear(1, 1)
                torch.nn.init.ones_(self.teacher.weight)
            self.teacher.weight.data += 0.01
            return scores * self.teacher.weight.detach().squeeze()

    class Moves(Method):
        name = "moves"
        def enter(self, train, run):
            return Rows(train.inputs + run.model.head.weight.detach().mean(), train.labels)

    @hookimpl
    def register_methods(register):
        for method in (Killer, Counts, Holds, Moves):
            register(method)
"""


@pytest.fixture(autouse=True)
def at_every_epoch(monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    monkeypatch.setattr(checkpoints, "SHARE", math.inf)


@pytest.fixture
def killed(tmp_path):
    """Exists once the method killer has killed its process, which it does once."""
    return tmp_path / "killed"


@pytest.fixture
def go(tiny, tmp_path):
    """Runs one cell; gives its record, what it said, its predictions and weights."""
    path = tmp_path / "methods.py"
    path.write_text(textwrap.dedent(METHODS))
    log, results = tmp_path / "log.jsonl", tmp_path / "results"

    def call(recipe, results=results, **options):
        log.unlink(missing_ok=True)
        options = {"seeds": 1, "jobs": 2, "plugins": [path], "observe": [f"json={log}"], **options}
        found = run(tiny, [recipe], results=results, **options)
        (record,) = (one for one in found if one.recipe != "erm")
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        own = [line for line in lines if line.get("recipe") == record.recipe]
        notes = [line["text"] for line in own if line["event"] == "note"]
        if record.status != "ok":
            return record, notes, None, None
        weights = torch.load(tmp_path / "weights", weights_only=True)
        return record, notes, arrays_of(results, record), weights

    call.results = results
    return call


@pytest.fixture
def broken(go, killed):
    """Runs a cell whose process is killed in its midst; gives its checkpoint."""

    def call(recipe):
        killed.unlink(missing_ok=True)
        record = go(recipe)[0]
        assert (record.status, "signal 9" in record.reason) == ("failed", True)
        return path_of(go.results, "tiny", record.recipe, 0)

    return call


def same(one, other):
    """Whether two outcomes have the same numbers, predictions and weights."""
    first, second = one[0], other[0]
    assert (first.measures, first.recall) == (second.measures, second.recall)
    assert first.timing.passes == second.timing.passes
    for a, b in ((one[2], other[2]), (one[3], other[3])):
        assert a.keys() == b.keys()
        assert all(np.array_equal(a[name], b[name]) for name in a)
    return True


@pytest.mark.parametrize(
    "recipe",
    [
        "killer",
        "killer+mixup+sam",
        "crt(share=0.5)+killer(role='head')",
        "counts+killer",
    ],
)
def test_a_killed_cell_continues_and_ends_in_the_same_bits(go, broken, killed, tmp_path, recipe):
    killed.touch()
    whole = go(recipe, results=tmp_path / "whole")
    kept = broken(recipe)
    assert kept.exists()
    (kept.parent / f".{kept.name}.torn").touch()
    again = go(recipe)
    assert same(whole, again)
    assert [note.partition(" after")[0] for note in again[1]] == ["continues"]
    assert (whole[0].continued, again[0].continued) == (0, 1)
    assert again[0].notes == whole[0].notes
    assert list(kept.parent.iterdir()) == []


def test_a_run_that_is_killed_itself_continues_its_cell(go, killed, tmp_path):
    def whole_run():
        os.setsid()
        go("killer(whole=True)", jobs=1)

    process = multiprocessing.get_context("fork").Process(target=whole_run)
    process.start()
    process.join()
    assert process.exitcode == -9
    assert [one.recipe for one in records.read_all(go.results, "tiny")] == ["erm"]
    again = go("killer(whole=True)", jobs=1)
    assert again[0].continued == 1
    assert same(again, go("killer(whole=True)", results=tmp_path / "whole"))


RECIPES = ("sam", "crt(share=0.5)+mixup")


def test_a_run_that_is_killed_again_and_again_ends_in_the_same_numbers(tiny, tmp_path):
    def numbers(folder):
        found = run(tiny, RECIPES, seeds=1, results=tmp_path / folder, jobs=2)
        return {record.recipe: (record.measures, record.recall) for record in found}

    def in_own_group():
        os.setsid()
        numbers("broken")

    chance, folder = random.Random(0), tmp_path / "broken" / "tiny" / "checkpoints"
    for _ in range(5):
        process = multiprocessing.get_context("fork").Process(target=in_own_group)
        process.start()
        while process.is_alive() and not list(folder.glob("*.pt")):
            time.sleep(0.002)
        process.join(chance.uniform(0, 0.05))
        process.kill()
        process.join()
    assert numbers("broken") == numbers("whole")
    assert list(folder.iterdir()) == []


def test_what_a_cell_cost_before_it_was_killed_is_added(go, broken):
    kept = broken("killer")
    content = torch.load(io.BytesIO(kept.read_bytes().partition(b"\n")[2]), weights_only=True)
    content["cost"] = (1000.0, 500.0, 70000.0)
    payload = io.BytesIO()
    torch.save(content, payload)
    written(kept, payload.getvalue())
    timing = go("killer")[0].timing
    assert 1000 < timing.seconds < 1100
    assert 500 < timing.work < 600
    assert timing.peak_memory_mb == 70000


def written(kept, payload):
    """Puts another payload into a checkpoint, as someone who knows its form would."""
    key = kept.read_bytes().split()[0]
    digest = hashlib.sha256(payload).hexdigest().encode()
    kept.write_bytes(key + b" " + digest + b"\n" + payload)


def test_a_method_that_holds_what_cannot_be_put_back_is_not_continued(go, broken, killed, tmp_path):
    killed.touch()
    whole = go("holds+killer", results=tmp_path / "whole")
    assert whole[1] == ["keeps no checkpoint: a method holds what could not be put back"]
    assert not broken("holds+killer").exists()
    again = go("holds+killer")
    assert again[0].continued == 0
    assert same(whole, again)


def test_a_method_that_says_that_it_does_not_resume_is_not_continued():
    class Says(Method):
        name = "says"
        expected_failures = {"it resumes": "it reads a clock"}

    run = probe_run(Method(), (1, 1), torch.float32)
    run.model, run.train = torch.nn.Linear(2, 2), Rows(torch.zeros(2, 2), torch.tensor([0, 1]))
    assert method_state.told(Method(), run) is not None
    assert method_state.told(Recipe(Says(), Method()), run) is None


def test_a_training_whose_rows_come_out_otherwise_begins_anew(go, broken, killed, tmp_path):
    killed.touch()
    whole = go("killer+moves", results=tmp_path / "whole")
    assert broken("killer+moves").exists()
    again = go("killer+moves")
    assert again[1][-1].endswith("its training rows did not come out the same")
    assert again[0].continued == 0
    assert same(whole, again)


def path_of_record(results):
    return records.path_of(results, "tiny", "killer", 0)


def flipped(content):
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


class Code:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_checkpoint_that_is_damaged_or_does_not_fit_is_not_used(go, broken):
    kept = broken("killer")
    content = kept.read_bytes()
    for change, words in (
        (flipped(content), "it is damaged"),
        (content[:-1], "it is damaged"),
        (b"", "it is damaged"),
        (b"x" + content[1:], "it is of other code, data, versions"),
    ):
        kept.write_bytes(change)
        record, notes, *_ = go("killer")
        assert (record.status, record.continued) == ("ok", 0)
        assert f"begins anew, as {kept} is not used: {words}" in notes[0]
        assert not kept.exists()
        path_of_record(go.results).unlink()


def test_a_checkpoint_is_read_without_running_what_is_in_it(go, broken, tmp_path):
    kept = broken("killer")
    payload = io.BytesIO()
    torch.save({"state": Code(tmp_path / "ran")}, payload)
    written(kept, payload.getvalue())
    record, notes, *_ = go("killer")
    assert (record.status, record.continued) == ("ok", 0)
    assert notes[0].endswith("it is no checkpoint")
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_of_a_method_whose_code_changed_is_not_used(go, broken, tmp_path):
    broken("killer")
    path = tmp_path / "methods.py"
    path.write_text(path.read_text() + "\nANOTHER = 1\n")
    record, notes, *_ = go("killer")
    assert (record.status, record.continued) == ("ok", 0)
    assert "of other code" in notes[0]


def test_fresh_begins_anew(go, broken):
    broken("killer")
    record, notes, *_ = go("killer", fresh=True)
    assert (record.status, record.continued, notes) == ("ok", 0, [])


def test_a_folder_without_room_costs_the_checkpoints_not_the_cell(go, killed):
    killed.touch()
    (go.results / "tiny").mkdir(parents=True)
    (go.results / "tiny" / "checkpoints").write_text("no folder")
    record, notes, *_ = go("killer")
    assert record.status == "ok"
    assert [note.partition(":")[0] for note in notes] == ["keeps no checkpoint"]


def test_short_cells_keep_nothing(go, killed, monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY", 60.0)
    killed.touch()
    assert go("killer")[0].status == "ok"
    assert not (go.results / "tiny" / "checkpoints").exists()


def test_records_are_what_they_were_before_cells_were_continued(pytestconfig):
    folder = pytestconfig.rootpath / "leaderboards" / "digits-lt" / "records" / "erm"
    record = read(folder / "seed-0.json")
    assert isinstance(record, records.Record)
    assert record.continued == 0
    assert records.structs.replace(record, continued=1).computed_digest() != record.digest


def test_no_clock_counts_what_goes_on_aside(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    with Clock(torch.device("cpu"), (10.0, 0.0, 0.0)) as clock:
        now[0] += 1
        with aside():
            now[0] += 100
        now[0] += 2
    assert clock.seconds == 13


def test_tensors_of_a_gpu_come_back_on_the_gpu_of_the_run(monkeypatch):
    moved = []

    def restored(storage, place):
        moved.append(place)
        return storage

    monkeypatch.setattr(checkpoints, "default_restore_location", restored)
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
    packed = checkpoints.packed({"held": torch.arange(3)}, "key")
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cpu")
    plain = checkpoints.packed({"held": torch.arange(3)}, "key")
    for content in (packed, plain):
        kept = checkpoints.unpacked(content, "key", torch.device("cuda:1"))
        assert kept["held"].tolist() == [0, 1, 2]
    assert moved == ["cuda:1"]


def test_the_generator_of_a_gpu_is_kept_and_put_back(monkeypatch):
    held = {"state": torch.tensor([1, 2], dtype=torch.uint8)}
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: held["state"])
    monkeypatch.setattr(
        torch.cuda, "set_rng_state", lambda state, device: held.update(state=(state, device))
    )
    run = probe_run(Recipe(Method()), (4, 2), torch.float32)
    run.device, model = torch.device("cuda"), torch.nn.Linear(1, 1)
    kept = engine._state(1, model, torch.optim.SGD(model.parameters(), lr=1.0), run)
    assert kept["cuda"].tolist() == [1, 2]
    engine._restore(kept, run)
    assert (held["state"][0] is kept["cuda"], held["state"][1]) == (True, torch.device("cuda"))
