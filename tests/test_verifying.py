"""A record counts only if what it tells follows from what is kept beside it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY
from msgspec import structs
from test_tabular import SMALL

from ltbench import LTBenchError, protocol
from ltbench.api import run
from ltbench.boards import verifying
from ltbench.boards.reading import read as board_of
from ltbench.boards.verifying import contradicted, contradiction
from ltbench.registry.registry import installed
from ltbench.results import records
from ltbench.results.records import arrays_of, place_of, read_all, write
from ltbench.scoring import metrics
from ltbench.tracks import classification


def tampered(results, record, **changed):
    """A record with other measures, sealed again as if nothing had happened."""
    told = structs.replace(record, measures=record.measures | changed)
    return write(results, told, arrays_of(results, record) if record.arrays else None)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with records of images and of a table, which tests copy; and these records."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "tiny.toml").write_text(TINY)
    (folder / "small.toml").write_text(SMALL)
    images = run(folder / "tiny.toml", ["erm", "ldam"], 2, results=folder / "results", jobs=1)
    rows = run(folder / "small.toml", ["smote"], 2, results=folder / "results", jobs=1)
    return folder / "results", images, rows


@pytest.fixture
def results(runs, tmp_path):
    """A copy of these records, to tamper with."""
    return shutil.copytree(runs[0], tmp_path / "results")


@pytest.fixture
def made(runs, results):
    return results, runs[1]


@pytest.fixture
def tables(runs, results):
    return results, runs[2]


def what_is_wrong(results, record, path):
    registry = installed()
    of = registry.protocol(path)
    return contradiction(registry.track(of.track), of, results, record)


def test_every_measure_of_a_classifier_follows_from_its_arrays(tiny, made):
    results, every = made
    of = protocol(tiny)
    track = installed().track("recognition")
    for record in every:
        followed = track.measured(of, record, arrays_of(results, record))
        told = record.measures | {f"recall {c}": one for c, one in enumerate(record.recall)}
        measured = {name for name, value in told.items() if value is not None}
        assert {name for name, bounds in followed.items() if bounds is not None} == measured
        assert what_is_wrong(results, record, tiny) is None


@pytest.mark.parametrize(
    "name",
    ["balanced_accuracy", "accuracy", "few", "worst_class", "g_mean", "macro_f1", "macro_auc"],
)
def test_a_measure_that_was_raised_is_named(tiny, made, name):
    results, (record, *_) = made
    raised = (record.measures[name] or 0.0) + 0.001
    said = what_is_wrong(results, tampered(results, record, **{name: raised}), tiny)
    assert said.startswith(f"its {name} is {raised:.6g}, but ")


def test_a_calibration_error_is_held_within_what_rounded_confidences_tell(tiny, made):
    results, (record, *_) = made
    error = record.measures["expected_calibration_error"]
    again = tampered(results, record, expected_calibration_error=error + 5e-6)
    assert what_is_wrong(results, again, tiny) is None
    again = tampered(results, record, expected_calibration_error=error + 0.05)
    assert what_is_wrong(results, again, tiny).startswith("its expected_calibration_error is")


def test_a_recall_and_a_measure_that_rows_do_not_allow_are_held_too(tiny, made):
    results, (record, *_) = made
    recall = [*record.recall[:-1], 1.5]
    again = write(results, structs.replace(record, recall=recall), arrays_of(results, record))
    said = what_is_wrong(results, again, tiny)
    assert said.startswith(f"its recall {len(recall) - 1} is 1.5, but ")
    again = tampered(results, record, accuracy=None)
    assert what_is_wrong(results, again, tiny).startswith("its accuracy is none, but ")


def test_arrays_that_are_not_the_records_own_or_no_arrays_are_told(tiny, made):
    results, (record, other, *_) = made
    path = place_of(results, record).with_suffix(".npz")
    path.write_bytes(place_of(results, other).with_suffix(".npz").read_bytes())
    assert "is missing or not the file" in what_is_wrong(results, record, tiny)
    odd = arrays_of(results, other) | {"predicted": np.zeros((3, 3, 3))}
    again = write(results, record, odd)
    assert what_is_wrong(results, again, tiny).startswith("its arrays cannot be measured (")


def test_a_board_leaves_out_what_does_not_follow_and_names_it(tiny, made, ltbench):
    results, (record, *_) = made
    tampered(results, record, balanced_accuracy=0.999)
    found = board_of(installed(), tiny, results)
    assert [one.path for one in found.rejected] == [place_of(results, record)]
    rows = {row.recipe: row for row in found.board.content.rows}
    assert rows["erm"].seeds == 1
    told = ltbench("leaderboard", tiny, "--results", results)
    assert told.exit_code == 2
    assert "its balanced_accuracy is 0.999, but" in told.stderr


def test_a_board_holds_only_so_many_records_against_their_arrays(tiny, made, monkeypatch):
    results, _ = made
    looked = []
    monkeypatch.setattr(verifying, "contradiction", lambda *given: looked.append(given[-1]))
    monkeypatch.setattr(verifying, "SAMPLE", 3)
    board_of(installed(), tiny, results)
    assert len({(record.recipe, record.seed) for record in looked}) == 3


def test_the_doctor_holds_every_record_of_a_protocol_against_its_arrays(tiny, made, ltbench):
    results, (record, *_) = made
    assert ltbench("doctor", tiny, "--results", results).exit_code == 0
    tampered(results, record, accuracy=0.999)
    told = ltbench("doctor", tiny, "--results", results)
    assert told.exit_code == 1
    assert "its accuracy is 0.999, but" in told.stdout
    place_of(results, record).with_suffix(".npz").unlink()
    told = ltbench("doctor", tiny, "--results", results, "--json")
    (problem,) = json.loads(told.stdout)["problems"]
    assert "is missing or not the file" in problem
    board_of(installed(), tiny, results)  # which can be read without arrays


def test_confidences_of_older_records_are_measured_as_they_were_kept(tiny, made):
    results, (record, *_) = made
    arrays = arrays_of(results, record)
    sure = arrays["confidence"] / classification.CODES
    older = {name: arrays[name] for name in ("labels", "predicted")}
    labels, predicted = (one.astype(np.int64) for one in older.values())
    told = metrics.expected_calibration_error(labels, predicted, sure)
    record = tampered(results, record, expected_calibration_error=told)
    again = write(results, record, older | {"confidence": sure.astype(np.float32)})
    assert what_is_wrong(results, again, tiny) is None
    followed = installed().track("recognition").measured(protocol(tiny), again, older | arrays)
    assert "macro_auc" in followed
    del arrays["outranking"]
    followed = installed().track("recognition").measured(protocol(tiny), again, arrays)
    assert "macro_auc" not in followed


def test_of_tables_decisions_follow_exactly_and_scores_within_bounds(tables, tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    results, every = tables
    of, track = protocol(path), installed().track("tabular")
    wide = {"auc", "average_precision", "brier", "log_loss"}
    for record in every:
        followed = track.measured(of, record, arrays_of(results, record))
        assert followed.keys() == record.measures.keys() - {"expected_calibration_error"}
        for name, (low, high) in followed.items():
            assert low <= record.measures[name] <= high
            assert (high - low > 1e-6) == (name in wide)
    assert contradicted(track, of, results, every) == []
    raised = tampered(results, every[0], f2=every[0].measures["f2"] + 1e-6)
    (bad,) = contradicted(track, of, results, [raised])
    assert bad.reason.startswith("its f2 is")


def test_all_committed_records_follow_from_their_arrays():
    results = Path(__file__).resolve().parents[1] / "leaderboards"
    registry = installed()
    for folder in sorted(results.glob("*/records")):
        of = registry.protocol(folder.parent.name)
        found = [one for one in read_all(results, of.name) if isinstance(one, records.Record)]
        assert found
        assert contradicted(registry.track(of.track), of, results, found) == []


def test_where_no_record_follows_that_is_said(tmp_path, tiny, made, tables):
    results, every = made
    for record in every:
        tampered(results, record, accuracy=0.999)
    with pytest.raises(LTBenchError, match="its accuracy is 0.999, but .*; so are 3 more"):
        board_of(installed(), tiny, results)
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    for record in tables[1]:
        tampered(results, record, f1=0.999)
    with pytest.raises(LTBenchError, match="its f1 is 0.999, but"):
        board_of(installed(), path, results)
