import os
import textwrap

import numpy as np
import pytest
import torch
from msgspec import structs

import ltbench
from ltbench import LTBenchError
from ltbench.api import run
from ltbench.registry.registry import Registry, installed
from ltbench.results.records import arrays_of, path_of, read, write
from ltbench.running.execute import execute
from ltbench.running.plan import estimate, plan


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


@pytest.fixture
def go(tiny, results):
    """Runs the tiny protocol and counts the cells that were really run.

    Plain training, which is in every run, is left out where it was not asked for.
    """

    def call(*recipes, **options):
        ran = []
        watch = lambda event: ran.append(event.ended) if event.ended else None  # noqa: E731
        found = run(tiny, recipes, results=results, watch=watch, **options)
        if recipes and "erm" not in recipes:
            found, ran = ([r for r in those if r.recipe != "erm"] for those in (found, ran))
        return found, len(ran)

    return call


def numbers(found):
    return {(r.recipe, r.seed): (r.status, r.measures, r.recall) for r in found}


def test_a_run_writes_a_record_and_predictions_for_each_cell(go, results):
    found, ran = go()
    assert ran == 4
    assert [(r.recipe, r.seed, r.status) for r in found] == [
        ("erm", 0, "ok"),
        ("erm", 1, "ok"),
        ("logit-adjustment", 0, "ok"),
        ("logit-adjustment", 1, "ok"),
    ]
    for record in found:
        assert read(path_of(results, "tiny", record.recipe, record.seed)) == record
        kept = arrays_of(results, record)
        hit = (kept["labels"] == kept["predicted"]).mean()
        assert hit == pytest.approx(record.measures["accuracy"])


def test_a_protocol_of_two_classes_runs_a_method_that_needs_two(go, tiny):
    assert [r.status for r in go("anyloss", seeds=1)[0]] == ["skipped"]
    tiny.write_text(tiny.read_text().replace("[data]", '[data]\nclasses = ["3", "8"]'))
    two = ltbench.protocol(tiny)
    assert two.data.classes == ("3", "8")
    found = run(tiny, ["anyloss"], seeds=1, results=tiny.parent / "two")
    assert [(r.status, r.class_counts) for r in found if r.recipe == "anyloss"] in (
        [("ok", [30, 3])],
        [("ok", [3, 30])],
    )


def test_a_record_carries_its_origin(go, tiny):
    record = go("sam(rho=0.8)", seeds=1)[0][0]
    assert record.hash == ltbench.protocol(tiny).hash
    assert record.parameters == {"sam": {"rho": 0.8}}
    assert record.plugins["sam"].package == "ltbench"
    assert record.plugins["sam"].source == installed().owner("sam").digest
    assert {"python", "torch", "cpu", "threads", "commit", "dirty"} <= record.environment.keys()
    assert record.timing.passes == 2


def test_processes_and_one_process_give_the_same_bits(go):
    recipes = ("erm", "mixup", "crt", "smote")
    apart, _ = go(*recipes, jobs=2)
    here, _ = go(*recipes, jobs=1, fresh=True)
    assert numbers(apart) == numbers(here)


def test_running_again_does_only_what_is_left(go):
    assert go("erm", seeds=1)[1] == 1
    assert go("erm", seeds=2)[1] == 1
    found, ran = go("erm", "sam", seeds=2)
    assert (len(found), ran) == (4, 2)
    assert go("erm", "sam", seeds=2, fresh=True)[1] == 4


def test_a_recipe_is_run_once_however_it_is_spelled(go):
    found, ran = go("sam+ldam", "ldam+sam", seeds=1)
    assert (len(found), ran) == (1, 1)


def test_seeds_come_one_after_the_other(tiny, results):
    cells = plan(installed(), tiny, ["erm", "sam"], 2, results).cells
    assert [str(cell) for cell in cells] == ["erm seed 0", "sam seed 0", "erm seed 1", "sam seed 1"]


HOSTILE = """
    import os, sys
    from ltbench import Method, hookimpl

    class Raises(Method):
        name = "raises"
        def adjust(self, scores, labels, run):
            return scores.reshape(7, 7, 7)

    class Nan(Method):
        name = "nan"
        def adjust(self, scores, labels, run):
            return scores * float("nan")

    class Exits(Method):
        name = "exits"
        def adjust(self, scores, labels, run):
            os._exit(7)

    class Quits(Method):
        name = "quits"
        def adjust(self, scores, labels, run):
            sys.exit(3)

    class Needs(Method):
        name = "needs-teacher"
        needs = frozenset({"teacher"})

    @hookimpl
    def register_methods(register):
        for method in (Raises, Nan, Exits, Quits, Needs):
            register(method)
"""


@pytest.fixture
def hostile(tmp_path):
    path = tmp_path / "hostile.py"
    path.write_text(textwrap.dedent(HOSTILE))
    return path


def test_a_method_that_breaks_costs_its_own_cells_only(go, hostile):
    recipes = ("erm", "raises", "nan", "exits", "quits", "needs-teacher", "sam")
    found, ran = go(*recipes, seeds=1, jobs=2, plugins=[hostile])
    assert ran == 7
    status = {record.recipe: (record.status, record.reason) for record in found}
    assert status["erm"][0] == status["sam"][0] == "ok"
    assert status["nan"] == ("failed", "the loss became nan at step 1 of 64 (phase main)")
    assert status["raises"][0] == "failed"
    assert "RuntimeError: shape" in status["raises"][1]
    assert "(hostile.py, line 8)" in status["raises"][1]
    assert status["quits"] == ("failed", "SystemExit: 3 (hostile.py, line 23)")
    assert status["exits"][0] == "failed"
    assert "exit code 7" in status["exits"][1]
    assert status["needs-teacher"][0] == "skipped"
    assert "supplies no teacher" in status["needs-teacher"][1]


def test_a_failed_cell_is_tried_again(go, hostile):
    assert go("nan", seeds=1, plugins=[hostile])[1] == 1
    assert go("nan", seeds=1, plugins=[hostile])[1] == 1


def test_a_method_whose_code_changed_is_run_again(go, tmp_path, method_source):
    path = tmp_path / "mine.py"
    path.write_text(method_source("mine"))
    assert go("mine", seeds=1, plugins=[path])[1] == 1
    assert go("mine", seeds=1, plugins=[path])[1] == 0
    path.write_text(method_source("mine") + "# strength alone\n")
    assert go("mine", seeds=1, plugins=[path])[1] == 0
    path.write_text(method_source("mine").replace("* self.strength", "* self.strength * 2"))
    assert go("mine", seeds=1, plugins=[path])[1] == 1


def test_a_method_is_run_again_when_what_it_imports_changed(
    tmp_path, monkeypatch, tiny, results, method_source
):
    site = tmp_path / "site"
    package, info = site / "imports_others", site / "theirs-1.0.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    monkeypatch.syspath_prepend(str(site))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ltbench]\ntheirs = imports_others.method\n")
    (package / "__init__.py").write_text("")
    (package / "method.py").write_text("from .tools import TWO\n" + method_source("theirs"))
    (package / "tools.py").write_text("import imports_others.deeper as deeper\n\nTWO = 2\n")
    (package / "deeper.py").write_text("from imports_others.method import *\n")
    (package / "alone.py").write_text("")

    def todo():
        planned = plan(Registry(), tiny, ["theirs"], 1, results)
        return [cell.recipe.text for cell in planned.todo if cell.recipe.text != "erm"]

    assert todo() == ["theirs"]
    list(execute(plan(Registry(), tiny, ["theirs"], 1, results)))
    assert todo() == []
    (package / "alone.py").write_text("ONE = 1\n")
    assert todo() == []
    for name in ("tools", "deeper"):
        before = (package / f"{name}.py").read_text()
        (package / f"{name}.py").write_text(f"{before}# another\n")
        assert todo() == []
        (package / f"{name}.py").write_text(f"{before}ANOTHER = 1\n")
        assert todo() == ["theirs"]
        (package / f"{name}.py").write_text(before)
        assert todo() == []
    path = path_of(results, "tiny", "theirs", 0)
    old = structs.replace(read(path), digest="")
    own = {"theirs": structs.replace(old.plugins["theirs"], imported="")}
    write(results, structs.replace(old, plugins=own, arrays=""), None)
    assert todo() == []


def test_records_of_another_version_are_not_overwritten(go, tiny, results):
    go("erm", seeds=1)
    path = path_of(results, "tiny", "erm", 0)
    before = path.read_bytes()
    tiny.write_text(tiny.read_text().replace("version = 1", "version = 2"))
    with pytest.raises(LTBenchError, match=r"belongs to tiny version 1 \(.*\), not to version 2"):
        go("erm", seeds=1)
    assert path.read_bytes() == before
    assert go("erm", seeds=1, fresh=True)[0][0].version == 2


def test_a_file_that_is_no_record_is_not_overwritten(go, results):
    go("erm", seeds=2)
    path = path_of(results, "tiny", "erm", 1)
    path.write_text("{")
    with pytest.raises(LTBenchError, match="seed-1.json is left in place"):
        go("erm", seeds=2)
    assert path.read_text() == "{"


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(go, results):
    results.write_text("a file, not a folder")
    with pytest.raises(LTBenchError, match="cannot be written"):
        go("erm")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seeds": 0}, "0 seeds leave nothing to run"),
        ({"device": "tpu9"}, "unknown device 'tpu9'"),
        ({"device": "meta"}, "not supported"),
        ({"device": "cuda:99"}, "is not there"),
    ],
)
def test_a_wrong_request_is_refused(go, options, words):
    with pytest.raises(LTBenchError, match=words):
        go("erm", **options)


def test_a_network_that_does_not_exist_is_refused_before_any_work(go, tiny, results):
    tiny.write_text(tiny.read_text().replace('name = "mlp"', 'name = "mpl"'))
    with pytest.raises(LTBenchError, match="did you mean 'mlp'"):
        go("erm")
    assert not results.exists()


def test_an_estimate_uses_earlier_cells(tiny, results, go):
    planned = plan(installed(), tiny, ["erm"], 2, results)
    plain = estimate(planned, 1)
    assert 0 < plain < 60
    slow = go("erm", seeds=1)[0][0]
    timing = structs.replace(slow.timing, relative=1000.0)
    write(results, structs.replace(slow, timing=timing), None)
    assert estimate(plan(installed(), tiny, ["erm"], 2, results), 1) > 100 * plain


def test_an_estimate_trains_nothing_where_records_of_this_machine_tell_the_time(
    tiny, results, go, monkeypatch
):
    record = go("erm", seeds=1)[0][0]

    def measured(*given):
        raise AssertionError

    monkeypatch.setattr("ltbench.running.keeper.Keeper.seconds", measured)
    left = plan(installed(), tiny, ["erm"], 3, results)
    assert len(left.todo) == 2
    plain = record.timing.reference_work
    assert estimate(left, 1) == pytest.approx(2 * record.timing.relative * plain)
    assert estimate(left, 2) == pytest.approx(record.timing.relative * plain)
    elsewhere = {**record.environment, "cpu": "another"}
    write(results, structs.replace(record, environment=elsewhere), None)
    with pytest.raises(AssertionError):
        estimate(plan(installed(), tiny, ["erm"], 3, results), 1)


def test_a_protocol_of_a_plugin_runs_on_its_data(install, tmp_path, tiny, results):
    protocol = tmp_path / "theirs.toml"
    text = tiny.read_text().replace('name = "tiny"', 'name = "theirs"')
    text = text.replace('source = "digits"', 'source = "clouds"')
    text = text.replace("c10b9250e22f3a67", "FINGERPRINT").replace("factor = 10", "factor = 3")
    install(
        "their-data",
        f"""
        import torch
        from pathlib import Path
        from ltbench import Dataset, Rows, hookimpl

        def load():
            generator = torch.Generator().manual_seed(0)
            labels = torch.arange(3).repeat_interleave(60)
            noise = torch.randn(180, 5, generator=generator)
            return Dataset(Rows(noise + labels[:, None], labels), ("a", "b", "c"))

        @hookimpl
        def register_datasets(register):
            register("clouds", load)

        @hookimpl
        def register_protocols(register):
            register(Path({os.fspath(protocol)!r}))
        """,
    )
    protocol.write_text(text)
    fingerprint = Registry().dataset("clouds")().fingerprint
    protocol.write_text(text.replace("FINGERPRINT", fingerprint))
    planned = plan(Registry(), "theirs", ["erm"], 1, results)
    assert planned.loaded[""].classes == ("a", "b", "c")
    assert isinstance(Registry().protocol("theirs"), type(planned.protocol))


def test_a_record_that_was_cut_off_from_its_arrays_is_made_again(go, results, monkeypatch):
    first = go("erm", "sam", seeds=1)[0]
    moved, replace = [], os.replace

    def dies(source, target):
        moved.append(target)
        if len(moved) > 1:
            raise KeyboardInterrupt
        replace(source, target)

    other = {"labels": np.zeros(3, np.uint8)}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", dies)
        write(results, structs.replace(first[0], digest=""), other)
    assert read(path_of(results, "tiny", "erm", 0)) == first[0]
    again, ran = go("erm", "sam", seeds=1)
    assert ran == 1
    assert [arrays_of(results, record)["labels"].shape for record in again] == [(200,)] * 2


def test_a_record_whose_arrays_stand_elsewhere_is_not_made_again(go, results):
    go("erm", seeds=1)
    path_of(results, "tiny", "erm", 0).with_suffix(".npz").unlink()
    assert go("erm", seeds=1)[1] == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU that is there can be used unseen")
def test_planning_leaves_a_gpu_alone(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    planned = plan(installed(), tiny, ["erm"], 1, tmp_path, device="cuda")
    assert planned.device.type == "cuda"
    assert not torch.cuda.is_initialized()
