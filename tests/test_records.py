import hashlib
import json
import os

import numpy as np
import pytest
from msgspec import ValidationError, convert, structs, to_builtins
from sample_record import PREDICTIONS, RECORD

from ltbench import LTBenchError
from ltbench.results.records import (
    Origin,
    Rejected,
    Timing,
    arrays_of,
    folder_of,
    is_whole,
    path_of,
    read,
    read_all,
    require_writable,
    same_code,
    write,
    write_text,
)


def test_a_record_comes_back_as_it_was_written(tmp_path):
    written = write(tmp_path, RECORD, PREDICTIONS)
    path = tmp_path / "tiny" / "records" / "sam(rho=0.8)" / "seed-3.json"
    assert read(path) == written
    assert structs.replace(written, arrays="", digest="") == RECORD
    assert [file.name for file in sorted(path.parent.iterdir())] == ["seed-3.json", "seed-3.npz"]


def test_a_file_has_a_line_for_each_thing_and_ends_with_one(tmp_path):
    write(tmp_path, RECORD, None)
    text = path_of(tmp_path, "tiny", RECORD.recipe, 3).read_text()
    assert text == json.dumps(json.loads(text), indent=1) + "\n"


def test_predictions_need_no_unpickling(tmp_path):
    written = write(tmp_path, RECORD, PREDICTIONS)
    back = arrays_of(tmp_path, written)
    assert all((back[name] == PREDICTIONS[name]).all() for name in PREDICTIONS)
    with np.load(path_of(tmp_path, "tiny", RECORD.recipe, 3).with_suffix(".npz")) as arrays:
        assert sorted(arrays) == sorted(PREDICTIONS)


def test_predictions_of_another_run_are_refused(tmp_path):
    written = write(tmp_path, RECORD, PREDICTIONS)
    write(tmp_path, RECORD, {**PREDICTIONS, "labels": np.array([1, 1], dtype=np.uint8)})
    with pytest.raises(LTBenchError, match="not the file that its record was written with"):
        arrays_of(tmp_path, written)


def test_a_failed_cell_leaves_no_predictions_of_an_earlier_one(tmp_path):
    write(tmp_path, RECORD, PREDICTIONS)
    write(tmp_path, structs.replace(RECORD, status="failed", reason="x"), None)
    assert not list(tmp_path.rglob("*.npz"))


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    before = write(tmp_path, RECORD, None)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(LTBenchError, match=r"seed-3.json cannot be written: No space left"):
        write(tmp_path, structs.replace(RECORD, reason="new"), None)
    path = path_of(tmp_path, "tiny", RECORD.recipe, 3)
    assert read(path) == before
    assert [file.name for file in path.parent.iterdir()] == ["seed-3.json"]


def test_a_write_that_fails_between_two_moves_is_told_and_leaves_no_whole_record(
    tmp_path, monkeypatch
):
    before, move = write(tmp_path, RECORD, PREDICTIONS), os.replace

    def full_at_last(source, target):
        if target.suffix == ".json":
            raise OSError(28, "No space left on device")
        move(source, target)

    monkeypatch.setattr(os, "replace", full_at_last)
    with pytest.raises(LTBenchError, match=r"seed-3.json cannot be written: No space left"):
        write(tmp_path, RECORD, {"labels": np.array([1])})
    path = path_of(tmp_path, "tiny", RECORD.recipe, 3)
    assert read(path) == before
    assert not is_whole(tmp_path, before)
    assert [file.name for file in sorted(path.parent.iterdir())] == ["seed-3.json", "seed-3.npz"]


def test_what_is_written_is_hidden_and_on_the_disk_before_it_is_moved(tmp_path, monkeypatch):
    done, sync, move = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (done.append("synced"), sync(file)))
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append(paths), move(*paths)))
    path = tmp_path / "some" / "where" / "table.md"
    write_text(path, "one")
    write_text(path, "two")
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o644
    assert done[::2] == ["synced", "synced"]
    for beside, target in done[1::2]:
        assert (beside.parent, target) == (path.parent, path)
        assert beside.name.startswith(".table.md.")


def test_a_text_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LTBenchError, match="file/table.md cannot be written: "):
        write_text(tmp_path / "file" / "table.md", "")


def test_a_folder_is_made_ready_for_records_and_left_empty(tmp_path):
    for _ in range(2):
        require_writable(tmp_path / "some" / "where")
    assert list((tmp_path / "some" / "where").iterdir()) == []


def test_a_folder_that_takes_no_file_is_refused_before_any_work(tmp_path, monkeypatch):
    def refused(dir):
        assert dir == tmp_path
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    with pytest.raises(LTBenchError, match=f"{tmp_path} cannot be written: Permission denied"):
        require_writable(tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text[: len(text) // 2], "truncated or not JSON"),
        (lambda text: "", "truncated or not JSON"),
        (lambda text: '{"environment": {"a": ' + "[" * 100000, "truncated or not JSON"),
        (lambda text: '{"recipe": "erm"}', "it is no record"),
        (lambda text: text.replace('"seed": 3', '"seed": "3"'), "it is no record"),
        (lambda text: text.replace('"seed": 3', '"seed": 3, "more": 1'), "it is no record"),
        (lambda text: text.replace('"protocol": "', '"protocol": "../'), "it is no record"),
        (lambda text: text.replace("0.30000000000000004", "0.9"), "changed by hand"),
    ],
)
def test_a_file_that_is_no_record_is_named_and_left(tmp_path, change, reason):
    write(tmp_path, RECORD, None)
    path = path_of(tmp_path, "tiny", RECORD.recipe, 3)
    path.write_text(change(path.read_text()))
    before = path.read_bytes()
    rejected = read(path)
    assert isinstance(rejected, Rejected)
    assert reason in str(rejected)
    assert str(path) in str(rejected)
    assert rejected.path == path
    assert path.read_bytes() == before


def test_a_file_that_cannot_be_read_is_told_with_the_reason(tmp_path):
    assert read(tmp_path / "none.json") == Rejected(
        tmp_path / "none.json", "it cannot be read (No such file or directory)"
    )


def test_a_record_of_an_earlier_form_is_told_with_the_way_on(tmp_path):
    path = path_of(tmp_path, "tiny", "erm", 0)
    path.parent.mkdir(parents=True)
    path.write_text('{"metrics": {}, "digest": "0123"}')
    rejected = read(path)
    assert rejected.earlier
    assert (
        rejected.reason == f"it is of an earlier form; ltbench migrate {tmp_path} carries it over"
    )
    path.write_text('{"metrics": {}, "digest": ""}')
    assert not read(path).earlier


def test_a_record_of_another_track_is_rejected_where_the_track_is_told(tmp_path):
    written = write(tmp_path, RECORD, None)
    assert list(read_all(tmp_path, "tiny")) == [written]
    assert list(read_all(tmp_path, "tiny", "recognition")) == [written]
    (rejected,) = read_all(tmp_path, "tiny", "tabular")
    assert rejected.reason == "it is a record of track recognition, not of tabular"


def test_the_place_of_a_record_tells_its_table(tmp_path):
    written = write(tmp_path, structs.replace(RECORD, table="abalone"), None)
    path = tmp_path / "tiny" / "records" / "sam(rho=0.8)" / "abalone-seed-3.json"
    assert read(path) == written
    assert str(written) == "sam(rho=0.8) on abalone seed 3"


def test_arrays_that_stand_elsewhere_leave_a_record_whole(tmp_path):
    written = write(tmp_path, RECORD, PREDICTIONS)
    beside = path_of(tmp_path, "tiny", RECORD.recipe, 3).with_suffix(".npz")
    assert is_whole(tmp_path, written)
    beside.unlink()
    assert is_whole(tmp_path, written)
    with pytest.raises(LTBenchError, match=r"seed-3.npz is missing or not the file"):
        arrays_of(tmp_path, written)


def test_a_record_without_arrays_is_whole_whatever_lies_beside_it(tmp_path):
    written = write(tmp_path, RECORD, None)
    path_of(tmp_path, "tiny", RECORD.recipe, 3).with_suffix(".npz").touch()
    assert is_whole(tmp_path, written)


def test_code_is_the_same_as_far_as_it_is_told():
    whole = Origin("mine", "1.0", "aaaa", imported="bbbb", core="cccc")
    assert same_code({"a": whole}, {"a": whole})
    for untold in ("imported", "core"):
        assert structs.replace(whole, **{untold: ""}).made_by(whole)
        assert not whole.made_by(structs.replace(whole, **{untold: ""}))
    for other in ("package", "version", "source", "imported", "core"):
        assert not same_code({"a": whole}, {"a": structs.replace(whole, **{other: "other"})})
    assert not same_code({"a": whole}, {"a": whole, "b": whole})
    assert not same_code({"a": whole, "b": whole}, {"a": whole, "b": Origin("mine", "2.0", "a")})


def test_spacing_is_no_change(tmp_path):
    written = write(tmp_path, RECORD, None)
    path = path_of(tmp_path, "tiny", RECORD.recipe, 3)
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert read(path) == written


def test_another_order_of_keys_is_no_change(tmp_path):
    written = write(tmp_path, RECORD, None)
    path = path_of(tmp_path, "tiny", RECORD.recipe, 3)
    told = json.loads(path.read_text())
    told["measures"] = dict(reversed(told["measures"].items()))
    path.write_text(json.dumps(dict(reversed(told.items()))))
    assert read(path) == written


@pytest.mark.parametrize("protocol", ["digits-lt", "distill-mnist-lt-100-ipc10", "tabular-uci"])
def test_committed_records_fit_their_digests(pytestconfig, protocol):
    found = list(read_all(pytestconfig.rootpath / "leaderboards", protocol))
    assert [one for one in found if isinstance(one, Rejected)] == []
    assert len(found) > 10


def test_committed_arrays_are_those_of_their_records(pytestconfig):
    results = pytestconfig.rootpath / "leaderboards"
    record = read(path_of(results, "digits-lt", "erm", 0))
    assert set(arrays_of(results, record)) >= {"labels", "predicted"}


def test_a_record_shows_its_cell_and_the_first_of_its_measures():
    told = structs.replace(RECORD, measures={"many": None, "few": 0.123456, "accuracy": 0.5})
    assert repr(told) == "<Record of tiny: sam(rho=0.8) seed 3, ok, few 0.1235>"
    failed = structs.replace(RECORD, status="failed", measures={}, table="abalone")
    assert repr(failed) == "<Record of tiny: sam(rho=0.8) on abalone seed 3, failed>"


@pytest.mark.parametrize(
    ("cost", "least", "most"),
    [
        ("seconds", 0, 1e9),
        ("work", 0, 1e9),
        ("reference_work", 1e-9, 1e9),
        ("relative", 0, 1e6),
        ("passes", 0, 1e6),
        ("peak_memory_mb", 0, 1e9),
    ],
)
def test_a_cost_of_less_than_nothing_or_absurdly_much_is_none(cost, least, most):
    told = to_builtins(RECORD.timing)
    for right, wrong in ((least, least - 1e-9), (most, most + 0.5)):
        assert getattr(convert({**told, cost: right}, Timing), cost) == right
        with pytest.raises(ValidationError):
            convert({**told, cost: wrong}, Timing)


def test_a_record_in_another_place_is_rejected(tmp_path):
    write(tmp_path, RECORD, None)
    path = path_of(tmp_path, "tiny", RECORD.recipe, 3)
    other = path.with_name("seed-4.json")
    path.rename(other)
    assert read(other) == Rejected(other, "it is a record of sam(rho=0.8) seed 3")
    other.rename(path)
    (tmp_path / "tiny").rename(tmp_path / "huge")
    (rejected,) = read_all(tmp_path, "huge")
    moved = path_of(tmp_path, "huge", RECORD.recipe, 3)
    assert rejected == Rejected(moved, "it is a record of protocol tiny")


@pytest.mark.parametrize("recipe", ["erm", "a(x='/../b')", 'a(x="*?:")', "a(x='é')", "x" * 900])
def test_a_folder_name_is_one_safe_name(recipe):
    name = folder_of(recipe)
    assert len(name) <= 200
    assert not set(name) & set('/\\:*?"<>|')
    assert name not in (".", "..")


def test_what_names_no_folder_or_too_long_a_one_has_another_name():
    assert [folder_of(name) for name in ("", ".", "..", ".x")] == ["%", "%2E", "%2E%2E", ".x"]
    assert folder_of("x" * 200) == "x" * 200
    ending = hashlib.sha256(b"x" * 201).hexdigest()[:16]
    assert folder_of("x" * 201) == f"{'x' * 180}~{ending}"
