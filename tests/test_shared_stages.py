"""A plain first stage is trained once, and what goes on from it ends in the bits of one alone."""

import json
import multiprocessing
import os
import signal
import sys
import textwrap
import time
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch

from ltbench import Method, Recipe
from ltbench.api import leaderboard, run
from ltbench.registry.registry import installed
from ltbench.results.merging import merge
from ltbench.results.records import arrays_of
from ltbench.running.beginnings import Beginnings
from ltbench.running.plan import plan
from ltbench.tracks import kept_networks, shared_stages, shared_work
from ltbench.tracks.classification import begin, split
from ltbench.tracks.shared_stages import FirstStage, key_of
from ltbench.training import checkpoints

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux")

CPU = torch.device("cpu")
PLAIN = (
    *("bic", "crt", "dcs", "deep-smote", "dnip", "group-thresholds", "la-tau", "lmd", "lws"),
    *(
        "ncm",
        "posthoc-logit-adjustment",
        "pseudo-features",
        "tau-norm",
        "threshold",
        "thresholding",
    ),
    "weight-aligning",
)
"""Every method of the library, but erm itself, that begins with plain training."""

METHODS = """
    import os
    from pathlib import Path
    from ltbench import Method, hookimpl

    HERE = Path(__file__).parent

    class Dies(Method):
        name = "dies"
        roles = ("head",)
        def batch(self, batch, run):
            if run.progress >= 0.5 and not (HERE / "killed").exists():
                (HERE / "killed").touch()
                os.kill(os.getpid(), 9)
            return batch

    class Hooked(Method):
        name = "hooked"
        def phases(self, plan, run):
            run.model.head.register_forward_hook(lambda head, given, scores: 2 * scores)
            return plan

    @hookimpl
    def register_methods(register):
        for method in (Dies, Hooked):
            register(method)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A cache folder of the test's own, where first stages stand."""
    monkeypatch.setenv("LTBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "stages"


@pytest.fixture
def methods(tmp_path):
    path = tmp_path / "methods.py"
    path.write_text(textwrap.dedent(METHODS))
    return path


@pytest.fixture
def go(tiny, tmp_path):
    """Runs cells of one seed, in a results folder of its own; gives records by recipe."""
    log = tmp_path / "log.jsonl"

    def call(recipes, results="results", **options):
        log.unlink(missing_ok=True)
        options = {"seeds": 1, "jobs": 1, "observe": [f"json={log}"], **options}
        found = run(tiny, recipes, results=tmp_path / results, **options)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        call.told = [line["text"] for line in lines if line["event"] == "note"]
        return {record.recipe: record for record in found}

    call.arrays = lambda record, results="results": arrays_of(tmp_path / results, record)
    return call


def numbers(record):
    """All that sharing must leave as it is."""
    told = (record.measures, record.recall, record.transductive, record.class_counts)
    return (*told, record.notes, record.timing.passes, record.status)


def same(go, one, other):
    """Whether the cells of two runs, each a results folder and records, have the same bits."""
    (first, found), (second, again) = one, other
    assert found.keys() == again.keys()
    for recipe, record in found.items():
        assert numbers(record) == numbers(again[recipe]), recipe
        arrays = go.arrays(record, first), go.arrays(again[recipe], second)
        assert arrays[0].keys() == arrays[1].keys()
        assert all(np.array_equal(arrays[0][name], arrays[1][name]) for name in arrays[0]), recipe
    return True


def test_cells_that_begin_plainly_share_that_and_end_in_the_bits_of_cells_alone(go, folder):
    recipes = [*PLAIN, "tau-norm(tau=0.5)", "crt(share=0.5)+posthoc-logit-adjustment"]
    alone = go(recipes, "alone", sharing=False)
    assert not folder.exists() and not any(record.stage for record in alone.values())
    shared = go(recipes, "shared")
    assert same(go, ("alone", alone), ("shared", shared))
    assert [recipe for recipe, record in shared.items() if not record.stage] == ["erm"]
    (file,) = folder.glob("*.pt")
    assert {record.stage for record in shared.values()} == {"", file.stem}
    assert all(record.timing.work > 0 for record in shared.values())
    again = go(recipes, "again")  # in another run
    assert all(record.stage for record in again.values())
    assert same(go, ("alone", alone), ("again", again))


def test_cells_that_do_not_begin_plainly_train_as_ever(go, folder, methods):
    recipes = ["balanced-softmax", "smote+crt", "sam", "two-phase", "etf-classifier", "hooked"]
    alone = go(recipes, "alone", sharing=False, plugins=[methods])
    shared = go(recipes, "shared", plugins=[methods])
    assert same(go, ("alone", alone), ("shared", shared))
    assert not any(record.stage for record in shared.values())
    assert len(list(folder.glob("*.pt"))) == 1  # of erm


def fresh(tiny, seed=0):
    """The rows and the run with which a cell of the small protocol begins."""
    protocol = installed().protocol(tiny)
    parts = split(protocol, installed().dataset("digits")(), seed)
    return protocol, parts.train, begin(protocol, parts, seed, CPU)


def key(tiny, recipe, seed=0):
    protocol, rows, run = fresh(tiny, seed)
    return key_of(protocol, installed().recipe(recipe), rows, run)


def test_these_methods_of_the_library_and_no_others_begin_plainly(tiny):
    found, plain = set(), key(tiny, "erm")
    for name, method in installed().methods().items():
        if "network" in method.models and not method.needs and key(tiny, name) == plain:
            found.add(name)
    assert found == {*PLAIN, "erm"}


def test_another_seed_protocol_or_phase_is_another_stage(tiny, methods):
    plain = key(tiny, "erm")
    assert key(tiny, "crt(share=0.3)") == key(tiny, "la-tau(tau=2.0)") == plain
    assert key(tiny, "erm", seed=1) not in ("", plain)
    protocol, rows, run = fresh(tiny)

    class Longer(Method):
        name = "longer"

        def phases(self, plan, run):
            return [replace(phase, epochs=phase.epochs + 1) for phase in plan]

    assert key_of(protocol, Recipe(Longer()), rows, run) not in ("", plain)
    tiny.write_text(tiny.read_text().replace("epochs = 8", "epochs = 9"))
    assert key(tiny, "erm") not in ("", plain)


@pytest.mark.parametrize("what", ["rows", "labels", "network", "chance", "code", "machine"])
def test_whatever_decides_the_bits_is_part_of_the_key(what, tiny, monkeypatch):
    plain = key(tiny, "erm")
    protocol, rows, run = fresh(tiny)
    rows = rows[torch.arange(len(rows))]
    if what == "rows":
        rows.inputs[3] += 1
    if what == "labels":
        rows.labels[3] = 1 - rows.labels[3].clamp(max=1)
    if what == "network":
        with torch.no_grad():
            run.model.head.bias[0] += 1e-7
    if what == "chance":
        run.seed = 5
    if what == "code":
        monkeypatch.setattr(kept_networks, "code_of", lambda protocol: "other")
    if what == "machine":
        monkeypatch.setattr(shared_stages.environment, "deciding", lambda *given: ["other"])
    assert key_of(protocol, Recipe(Method()), rows, run) not in ("", plain)


def test_what_is_trained_in_one_phase_stays_out_of_the_way_of_the_next(go):
    """Stale gradients and the share of the phase that has passed are the same with and without."""
    seen = []

    class Looks(Method):
        name = "looks"
        roles = ("head",)

        def enter(self, train, run):
            seen.append((float(run.progress), run.seen.tolist(), run.train is train))
            assert all(p.grad is None for p in run.model.parameters())
            run.note(str(seen[-1]))
            return train

    alone = go(["crt", Recipe(*installed().recipe("crt").methods, Looks())], "a", sharing=False)
    shared = go(["crt", Recipe(*installed().recipe("crt").methods, Looks())], "b")
    assert shared["crt+looks"].stage and shared["crt+looks"].notes
    assert same(go, ("a", alone), ("b", shared))


@pytest.mark.parametrize("content", [b"", b"what is this", "torn", "other", "form"])
def test_what_cannot_be_read_is_told_of_and_trained_anew(content, go, folder):
    whole = go(["erm"], "whole")
    (file,) = folder.glob("*.pt")
    good = file.read_bytes()
    if content == "torn":
        content = good[:-100]
    if content == "other":  # of other code, which would have another name
        content = checkpoints.packed({}, "0" * 32)
    if content == "form":
        content = checkpoints.packed({"cost": (1, 1, 1), "reference": 1.0}, file.stem)
    file.write_bytes(content)
    again = go(["erm"], "again")
    assert same(go, ("whole", whole), ("again", again)) and not again["erm"].stage
    (told,) = go.told
    assert told.startswith("does all its work itself, as ") and str(file) in told
    assert go(["erm"], "third")["erm"].stage  # it was replaced
    assert not go.told


def test_a_cache_folder_that_takes_nothing_costs_the_sharing_alone(go, folder):
    whole = go(["erm", "crt"], "whole", sharing=False)
    folder.parent.write_text("a file stands where the folder should")
    found = go(["erm", "crt"], "found", jobs=2)
    assert same(go, ("whole", whole), ("found", found))
    assert [record.stage for record in found.values()] == ["", ""]
    assert len(go.told) == 2
    assert all(line.startswith("leaves nothing to other cells: ") for line in go.told)


def test_a_full_disk_leaves_nothing_half_written(folder, monkeypatch):
    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert "No space left" in kept_networks.put("stages", "a.pt", b"content", 100)
    assert not list(folder.iterdir())


def test_the_folder_is_bounded_and_what_was_used_last_stays(folder):
    for k in range(6):
        assert not kept_networks.put("stages", f"{k}.pt", b"x" * 10, most=30)
        (folder / f".{k}.lock").touch()
        os.utime(folder / f"{k}.pt", (k, k))
        if k == 3:
            kept_networks.touch(folder / "1.pt")
    assert {path.name for path in folder.glob("*.pt")} == {"1.pt", "4.pt", "5.pt"}
    assert not (folder / ".0.lock").exists() and (folder / ".5.lock").exists()


def test_what_kills_left_torn_goes_once_nobody_can_be_writing_it(folder):
    kept_networks.put("stages", "a.pt", b"", 1)
    old, young = folder / "tmpold", folder / "tmpyoung"
    old.touch(), young.touch()
    os.utime(old, (0, 0))
    kept_networks.put("stages", "b.pt", b"", 1)
    assert not old.exists() and young.exists()


def test_a_cell_that_is_killed_while_it_keeps_its_stage_costs_that_cell_alone(
    go, folder, monkeypatch, tmp_path
):
    whole = go(["crt", "la-tau"], "whole", sharing=False)
    moved, killed = os.replace, tmp_path / "killed"

    def deadly(source, target):
        if str(target).endswith(".pt") and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        moved(source, target)

    monkeypatch.setattr(os, "replace", deadly)
    found = go(["crt", "la-tau"], "found", jobs=2)
    assert (found["erm"].status, found["crt"].status) == ("failed", "ok")
    assert [bool(record.stage) for record in found.values()].count(True) == 1
    again = go(["crt", "la-tau"], "found", jobs=2)
    assert same(go, ("whole", whole), ("found", again)) and again["erm"].stage


def test_two_runs_at_once_train_it_once(go, folder, tiny, tmp_path):
    whole = go(["crt", "la-tau"], "whole", sharing=False)

    def work(results):
        os.setsid()
        run(tiny, ["crt", "la-tau"], seeds=1, results=tmp_path / results, jobs=1)

    context = multiprocessing.get_context("fork")
    both = [context.Process(target=work, args=(name,)) for name in ("one", "two")]
    for process in both:
        process.start()
    for process in both:
        process.join()
    found = [go(["crt", "la-tau"], name) for name in ("one", "two")]
    assert all(
        same(go, ("whole", whole), (n, f)) for n, f in zip(("one", "two"), found, strict=True)
    )
    trained = [r for records in found for r in records.values() if not r.stage]
    assert len(trained) == 1


def held(ready, tiny):
    """Holds the lock of a stage until it is killed."""
    with kept_networks.alone("stages", key(tiny, "erm")):
        ready.set()
        time.sleep(60)


@pytest.fixture
def holder(tiny):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=held, args=(ready, tiny))
    process.start()
    assert ready.wait(60)
    yield process
    process.kill()
    process.join()


def test_nobody_waits_for_one_that_died(go, holder, monkeypatch):
    monkeypatch.setattr(shared_work, "PATIENCE", (600.0, 0.0))
    waits = multiprocessing.get_context("fork").Process(target=end_soon, args=(holder.pid,))
    waits.start()
    found = go(["erm", "crt"], jobs=2)
    waits.join()
    assert [bool(record.stage) for record in found.values()] == [True, False]


def end_soon(pid):
    time.sleep(1.0)
    os.kill(pid, signal.SIGKILL)


def test_nobody_waits_for_ever_for_one_that_does_not_move(go, holder, monkeypatch):
    monkeypatch.setattr(shared_work, "PATIENCE", (0.2, 0.0))
    found = go(["erm", "crt"], jobs=2)
    assert [record.status for record in found.values()] == ["ok", "ok"]
    assert holder.is_alive()


def test_a_continued_cell_still_tells_the_stage_it_began_from(go, methods, monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    monkeypatch.setattr(checkpoints, "SHARE", float("inf"))
    text = "crt(share=0.5)+dies"
    assert go([text], plugins=[methods])[text].status == "failed"
    found = go([text], plugins=[methods])[text]
    assert (found.status, found.continued) == ("ok", 1) and found.stage
    alone = go([text], "alone", plugins=[methods], sharing=False)[text]
    assert numbers(found) == numbers(alone)


def test_records_with_and_without_sharing_stand_side_by_side(go, tiny, tmp_path):
    first = go(["erm", "crt"], "shared")
    assert first["crt"].stage
    every = go(["erm", "crt", "la-tau"], "shared", sharing=False, seeds=2)
    assert not every["la-tau"].stage
    assert len(leaderboard(tiny, tmp_path / "shared")) == 3
    go(["erm", "crt"], "alone", sharing=False)
    assert merge([tmp_path / "alone"], tmp_path / "shared").equal == 2


def test_what_goes_on_from_a_stage_is_charged_for_it_in_the_speed_of_its_own_process():
    class Read:
        seconds, work = 13.0, 12.0

    def plain(steps=None):
        timed.append(steps)
        return 5.0

    stage, timed = FirstStage({}, "key", (11.0, 10.0, 1.0), reference=10.0), []
    assert stage.before(plain) == 10.0 and not timed
    assert stage.beside(plain, 10.0, Read) == 10.0
    assert stage.owed == (2.0, 2.0) and len(timed) == 2  # it takes half as long here
    Read.seconds, Read.work = 11.6, 10.5  # little was done since
    stage, timed = FirstStage({}, "key", (11.0, 10.0, 1.0), reference=10.0), []
    assert stage.beside(plain, 10.0, Read) == 10.0
    assert stage.owed == (0.0, 0.0) and not timed
    assert FirstStage().beside(plain, 7.0, Read) == 6.0  # alone: the mean of before and after


def test_cells_wait_for_the_one_of_this_run_that_trains_what_they_begin_with(tiny, tmp_path):
    given = plan(installed(), tiny, ["erm", "crt", "sam", "la-tau"], 2, tmp_path)
    cells = {(cell.recipe.text, cell.seed): cell for cell in given.cells}
    both = Beginnings(given)
    assert not both.waits(cells["erm", 0])
    both.began(cells["erm", 0])
    waiting = {place for place, cell in cells.items() if both.waits(cell)}
    assert waiting == {("erm", 0), ("crt", 0), ("la-tau", 0)}
    both.ended(cells["erm", 0], Ended("failed"))
    assert not both.waits(cells["crt", 0])
    both.began(cells["crt", 0])
    assert both.waits(cells["la-tau", 0])
    both.ended(cells["crt", 0], Ended("ok"))
    both.began(cells["la-tau", 0])
    assert not both.waits(cells["erm", 0])
    alone = Beginnings(plan(installed(), tiny, ["erm", "crt"], 2, tmp_path, shares=False))
    alone.began(cells["erm", 0])
    assert not alone.waits(cells["crt", 0])


class Ended(NamedTuple):
    """What is asked of a record."""

    status: str


def test_cells_side_by_side_train_it_once_a_seed(tiny, tmp_path):
    found = run(tiny, ["erm", "crt", "la-tau", "tau-norm"], 2, results=tmp_path / "r", jobs=4)
    assert sorted(record.seed for record in found if not record.stage) == [0, 1]
    assert {record.status for record in found} == {"ok"} and len(found) == 8


DOMAINS = """
base = "digits-domains"
name = "small-domains"
version = 1
description = "Domains, in a blink."
recipes = ["erm"]
seeds = 1

[budget]
epochs = 2

[network]
name = "mlp"
widths = [8]
"""


def test_rows_of_several_domains_share_it_too(tiny, go):
    tiny.write_text(DOMAINS)
    recipes = ["la-tau", "crt+posthoc-logit-adjustment", "domain-balanced-softmax"]
    alone, shared = go(recipes, "alone", sharing=False), go(recipes, "shared")
    assert same(go, ("alone", alone), ("shared", shared))
    unshared = [recipe for recipe, record in shared.items() if not record.stage]
    assert unshared == ["domain-balanced-softmax", "erm"]
