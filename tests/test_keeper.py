"""Labels of test rows are in no process that runs a method, whatever the method tries."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from cheats import Loader
from conftest import TINY

from ltbench import LTBenchError, protocol
from ltbench.api import run
from ltbench.contract.context import Chosen, Rows
from ltbench.contract.track import Answer, Track
from ltbench.registry.registry import Registry
from ltbench.results import records
from ltbench.results.records import Record, Timing
from ltbench.running.answers import packed, refuse_unfit, unpacked
from ltbench.running.closing import Closed, version
from ltbench.running.execute import execute
from ltbench.running.plan import plan
from ltbench.tracks.dividing import Given, asked
from ltbench.tracks.recognition.declaration import RecognitionTrack
from ltbench.training.engine import hidden_order

DISTILLED = """
base = "distill-digits"
name = "tiny-distill"
steps = 20
networks = 2

[distilling]
ipc = 3
iterations = 4
networks = 1
epochs = 1

[budget]
epochs = 2
"""
COMPRESSED = """
base = "compress-digits"
name = "tiny-compress"

[compressing]
rows = 3
factor = 4.0
keep = 0.5

[teacher]
epochs = 1

[budget]
epochs = 2
"""
TABLE = """
name = "small-table"
version = 1
track = "tabular"
description = "A table, for tests."
recipes = ["erm"]
seeds = 1

[tables.wine]
source = "scikit-learn/wine"
fingerprint = "1570c9b303c0563f"
factor = 5

[learners]
tree = {min_samples_leaf = 5}
mlp = {steps = 8}

[scoring]
folds = 2

[compute]
threads = 1
"""
REMEMBERS = """
    import os
    from ltbench import Method, hookimpl

    class Remembers(Method):
        name = "remembers"
        reference = "none: a test"
        models = frozenset({"network", "estimator"})
        known = set()

        def scores(self, output, run):
            self.known.add(run.seed)
            run.note("knows " + " ".join(map(str, sorted(self.known))))
            return output

    class Ends(Method):
        name = "ends"
        reference = "none: a test"
        models = frozenset({"network", "estimator"})

        def prepare(self, run):
            if run.seed == 1:
                print("farewell")
                os._exit(3)

    class Refuses(Method):
        name = "refuses"
        reference = "none: a test"
        models = frozenset({"network", "estimator"})

        def prepare(self, run):
            raise ValueError("not today")

    @hookimpl
    def register_methods(register):
        register(Refuses)
        register(Remembers)
        register(Ends)
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="cells have processes on Linux alone")
landlock = pytest.mark.skipif(version() < 3, reason="this kernel has no Landlock that closes files")
CHEATS = (
    *("loader", "collector", "frames", "order", "portion", "old-records", "trains", "metric"),
    *("rewrites", "picky", "clock", "memory"),
)


@pytest.fixture(scope="module")
def cheated(tmp_path_factory):
    """The folder of a run of all cheats beside plain training, and its records by recipe."""
    place = tmp_path_factory.mktemp("cheats")
    (place / "tiny.toml").write_text(TINY)
    cheats = Path(__file__).parent / "plugins" / "cheats.py"
    words = [word for name in ("erm", *CHEATS) for word in ("-m", name)]
    words += ["--plugin", str(cheats)]
    subprocess.run(
        [
            sys.executable,
            "-m",
            "ltbench",
            "run",
            "tiny.toml",
            "--sealed",
            *words,
        ],
        cwd=place,
        check=False,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    found = {}
    for one in records.read_all(place / "leaderboards", "tiny"):
        assert isinstance(one, Record), one
        found.setdefault(one.recipe, []).append(one)
    return place / "leaderboards", found


def reached(cheated, recipe):
    return [one.measures.get("balanced_accuracy") for one in cheated[1][recipe]]


def told(cheated, recipe):
    return {note for one in cheated[1][recipe] for note in one.notes}


@linux
@landlock
@pytest.mark.parametrize(
    ("cheat", "got"),
    [
        ("loader", {"loader: PermissionError"}),
        ("collector", {"collector: AssertionError"}),
        ("old-records", {"old records: PermissionError"}),
        ("trains", {"trains: PermissionError"}),
        ("rewrites", {"rewrites: PermissionError", "makes: PermissionError"}),
        (
            "memory",
            {"parent: PermissionError", "keeper: PermissionError", "signal: PermissionError"},
        ),
        ("metric", set()),
    ],
)
def test_a_cheat_that_finds_nothing_is_plain_training(cheated, cheat, got):
    assert got <= told(cheated, cheat)
    assert reached(cheated, cheat) == reached(cheated, "erm")


@linux
def test_what_is_asked_too_early_is_inputs_without_labels(cheated):
    assert "frames: inputs shuffled" in told(cheated, "frames")
    assert reached(cheated, "frames") == reached(cheated, "erm")


@linux
def test_order_and_neighbours_tell_nothing(cheated):
    assert max(reached(cheated, "order")) < 0.25  # of ten classes
    assert np.mean(reached(cheated, "portion")) < np.mean(reached(cheated, "erm"))


@linux
def test_a_method_that_leaves_out_a_seed_has_failed_on_it(cheated):
    assert [one.status for one in cheated[1]["picky"]] == ["ok", "failed"]


@linux
def test_a_cost_below_nothing_is_none(cheated):
    assert {one.status for one in cheated[1]["clock"]} == {"failed"}
    assert "is no cost; one clock or the other was stopped" in cheated[1]["clock"][0].reason


@linux
def test_records_of_others_stand_as_they_were(cheated):
    assert [one.status for one in cheated[1]["erm"]] == ["ok", "ok"]
    assert not (cheated[0] / "mine.json").exists()


@linux
@pytest.mark.parametrize(
    ("problem", "recipes"),
    [
        (TINY, ["erm", "logit-adjustment", "smote", "crt"]),
        (DISTILLED, ["random", "dm", "full(balanced=True)"]),
        (COMPRESSED, ["kd", "mir"]),
        (TABLE, ["threshold", "smote", "la-tau", "balanced-bagging"]),
    ],
)
def test_a_run_apart_gives_the_bits_of_one_in_a_single_process(
    tmp_path, monkeypatch, problem, recipes
):
    file = tmp_path / "problem.toml"
    file.write_text(problem)
    one = run(file, recipes, 1, results=tmp_path / "one", jobs=1)
    monkeypatch.setattr("ltbench.running.plan.can_fork", lambda device: False)
    monkeypatch.setattr("ltbench.running.execute.can_fork", lambda device: False)
    other = run(file, recipes, 1, results=tmp_path / "other", jobs=1)
    timed = {"evaluation_seconds", "twin_seconds", "latency"}
    for first, second in zip(one, other, strict=True):
        assert (first.status, second.status) == ("ok", "ok"), (first.reason, second.reason)
        measured, again = (
            {name: value for name, value in found.measures.items() if name not in timed}
            for found in (first, second)
        )
        assert measured and measured == again
        assert (first.recall, first.notes, first.control) == (
            second.recall,
            second.notes,
            second.control,
        )
        for part in (p for one in (first, second) for p in one.details.get("parts", {}).values()):
            del part["timing"]
        assert first.details == second.details
        pair = (
            records.arrays_of(tmp_path / "one", first),
            records.arrays_of(tmp_path / "other", second),
        )
        assert pair[0].keys() == pair[1].keys()
        assert all(np.array_equal(pair[0][name], pair[1][name]) for name in pair[0])


def test_a_cheat_in_a_process_that_holds_the_data_knows_every_label(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("ltbench.running.plan.can_fork", lambda device: False)
    monkeypatch.setattr("ltbench.running.execute.can_fork", lambda device: False)
    (one,) = (r for r in run(tiny, [Loader()], 1, results=tmp_path) if r.recipe == "loader")
    assert one.measures["balanced_accuracy"] == 1


@linux
def test_the_process_that_forks_workers_holds_no_data(tiny, tmp_path):
    planned = plan(Registry(), tiny, ["erm"], 1, tmp_path)
    assert planned.keeper is not None
    assert [type(one).__name__ for one in planned.sources.values()] == ["Held"]
    assert planned.sources[""].fingerprint == protocol(tiny).data.fingerprint


@linux
def test_a_track_that_does_not_divide_is_run_as_before(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(RecognitionTrack, "divide", Track.divide)
    assert plan(Registry(), tiny, ["erm"], 1, tmp_path).keeper is None


@linux
def test_parts_of_a_cell_that_know_what_others_are_asked_are_run_apart(tmp_path):
    table, methods = tmp_path / "table.toml", tmp_path / "remembers.py"
    table.write_text(TABLE)
    methods.write_text(textwrap.dedent(REMEMBERS))
    plugin = {"plugins": [methods], "results": tmp_path / "results", "jobs": 2}
    found = {one.recipe: one for one in run(table, ["remembers", "ends"], 1, **plugin)}
    assert found["remembers"].status == found["erm"].status == "ok"
    assert found["remembers"].details["parts"]["tree"]["notes"] == ["knows 0", "knows 1"]
    assert found["remembers"].measures == found["erm"].measures
    assert found["ends"].status == "failed"
    told = "its process ended with exit code 3 before the cell was done; it last printed: farewell"
    assert found["ends"].reason == told


@linux
def test_a_table_whose_every_learner_fails_tells_why(tmp_path):
    table, methods = tmp_path / "table.toml", tmp_path / "remembers.py"
    table.write_text(TABLE)
    methods.write_text(textwrap.dedent(REMEMBERS))
    plugin = {"plugins": [methods], "results": tmp_path / "results"}
    found = {one.recipe: one for one in run(table, ["presto", "refuses"], 1, **plugin)}
    assert (found["presto"].status, found["refuses"].status) == ("skipped", "failed")
    assert "presto needs ordered, which this table does not supply" in found["presto"].reason
    assert "not today" in found["refuses"].reason
    assert found["refuses"].details["parts"].keys() == {"tree", "mlp"}


@linux
def test_a_table_that_cannot_be_had_costs_its_own_cells(tmp_path):
    table = tmp_path / "table.toml"
    torn = TABLE.replace("[tables.wine]", "[tables.torn]").replace("1570c9b3", "00000000")
    table.write_text(TABLE + torn[torn.index("[tables") : torn.index("[learners")])
    found = {one.table: one for one in run(table, ["erm"], 1, results=tmp_path / "results")}
    assert (found["wine"].status, found["torn"].status) == ("ok", "failed")
    assert "00000000" in found["torn"].reason


@linux
def test_data_that_cannot_be_had_are_refused_by_the_keeper(tiny, tmp_path, monkeypatch):
    tiny.write_text(TINY.replace("c10b9250e22f3a67", "0" * 16))
    with pytest.raises(LTBenchError, match="but tiny is fixed to 0000"):
        plan(Registry(), tiny, ["erm"], 1, tmp_path)


@linux
def test_a_keeper_that_is_gone_ends_the_run_in_a_line(tiny, tmp_path):
    planned = plan(Registry(), tiny, ["erm"], 1, tmp_path)
    planned.keeper.end()
    with pytest.raises(LTBenchError, match="what holds the data is gone"):
        list(execute(planned))


@linux
def test_a_keeper_ends_with_its_plan(tiny, tmp_path):
    planned = plan(Registry(), tiny, ["erm"], 1, tmp_path)
    process = planned.keeper.worker.process
    assert process.is_alive()
    del planned
    process.join(5)
    assert not process.is_alive()


def test_what_is_given_holds_nothing_of_the_rows_it_was_chosen_from():
    import pickle

    rows = Rows(torch.arange(4000.0).reshape(1000, 4), torch.arange(1000))
    given = Given(Chosen.out_of(rows, torch.tensor([3, 5])), None, [1, 1], 2)
    content = pickle.dumps(given)
    assert len(content) < 4000
    again = pickle.loads(content)
    assert again.train.inputs.tolist() == rows.inputs[[3, 5]].tolist()
    assert again.train.labels.tolist() == [3, 5]
    with pytest.raises(AssertionError):
        again.parts.test()


def test_what_is_asked_is_in_a_hidden_order_and_the_places_lead_back():
    rows = Rows(torch.randn(50, 3), torch.arange(50), groups=torch.arange(50) % 4)
    paper, place = asked(rows, 7, groups=True)
    assert torch.equal(paper.inputs, rows.inputs[hidden_order(rows.inputs, 7)])
    assert torch.equal(paper.inputs[place], rows.inputs)
    assert torch.equal(paper.groups[place], rows.groups)
    assert sorted(paper.shuffled.tolist()) == list(range(50))
    assert asked(rows, 7)[0].groups is None
    assert "labels" not in vars(paper)


TIMING = Timing(
    seconds=1.0, work=1.0, reference_work=1.0, relative=1.0, passes=1.0, peak_memory_mb=1.0
)


def answer(scores=None, predicted=None):
    return Answer(
        scores=torch.zeros(4, 3).double() if scores is None else scores,
        predicted=torch.zeros(4, dtype=torch.long) if predicted is None else predicted,
        timing=TIMING,
        notes=["a note"],
    )


def test_an_answer_comes_back_as_it_was_said():
    said, again = unpacked(packed(answer(torch.randn(4, 3).double()), {"cpu": "one"}))
    assert (said.environment, again.notes, again.timing) == ({"cpu": "one"}, ["a note"], TIMING)
    assert again.scores.dtype == torch.float64 and again.predicted.dtype == torch.int64
    refuse_unfit(again, 4, 3)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (answer(torch.zeros(5, 3).double()), "are not those of 4 rows and 3 classes"),
        (answer(torch.full((4, 3), float("nan"))), "scores are not finite numbers"),
        (answer(predicted=torch.tensor([0, 1, 2, 3])), "a decided label is not in 0..2"),
        (answer(predicted=torch.zeros(4)), "no whole numbers"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(bad, told):
    with pytest.raises(LTBenchError, match=told):
        refuse_unfit(unpacked(packed(bad, {}))[1], 4, 3)


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x05.", b"{}", packed(answer(), {})[:-9], packed(answer(), {}) + b"x"]
)
def test_bytes_that_are_no_answer_are_refused(content):
    with pytest.raises(LTBenchError, match="its answer is none"):
        unpacked(content)


@linux
@landlock
def test_what_is_closed_cannot_be_opened_replaced_or_added_to(tmp_path):
    shut, beside, inside = tmp_path / "shut", tmp_path / "beside", tmp_path / "shut" / "again"
    for folder in (inside, beside):
        folder.mkdir(parents=True)
        (folder / "file").write_text("text")
    (shut / "file").write_text("text")
    (beside / "link").symlink_to(shut)
    closed = Closed([shut], [inside])
    assert closed.works
    reading, writing = os.pipe()
    if not os.fork():
        closed.apply()

        def can(do):
            try:
                do()
            except OSError:
                return "n"
            return "y"

        found = (
            can((beside / "file").read_text),
            can((inside / "file").read_text),
            can((shut / "file").read_text),
            can((beside / "link" / "file").read_text),
            can(lambda: (shut / "file").unlink()),
            can(lambda: (shut / "new").write_text("")),
            can(lambda: (beside / "file").replace(shut / "file")),
            can(lambda: os.link(shut / "file", beside / "hard")),
            can(lambda: (beside / "new").write_text("")),
        )
        os.write(writing, "".join(found).encode())
        os._exit(0)
    os.wait()
    closed.close()
    assert os.read(reading, 99) == b"yynnnnnny"
    assert (shut / "file").read_text() == "text"


def test_without_landlock_nothing_is_closed_and_that_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr("ltbench.running.closing.version", lambda: 0)
    closed = Closed([tmp_path])
    assert not closed.works
    closed.apply()
    (tmp_path / "file").write_text("text")
