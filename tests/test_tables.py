import os
import subprocess
import sys

import msgspec
import numpy as np
import pandas as pd
import pytest

from ltbench import LTBenchError
from ltbench.datasets.tables import whole
from ltbench.tracks.tabular import reading
from ltbench.tracks.tabular.problem import TableData
from ltbench.tracks.tabular.sources import in_data_folder
from ltbench.tracks.tabular.tables import load
from ltbench.validation import convert


class Tables(msgspec.Struct):
    """What of a protocol is of tables."""

    tables: dict[str, TableData]


FRAME = pd.DataFrame(
    {
        "width": [1.0, 2.0, np.nan, 4.0, 5.0, 6.0],
        "colour": ["red", "blue", "red", None, "blue", "red"],
        "target": ["b", "b", "b", "b", "a", "a"],
    }
)


@pytest.fixture
def read(tmp_path):
    """Reads a frame as a user's own table."""

    def call(frame, **keys):
        path = tmp_path / "mine.csv"
        frame.to_csv(path, index=False)
        data = TableData(**{"source": "mine", "fingerprint": "any", **keys})
        return load("mine", data, {"mine": path})

    return call


def test_numbers_and_words_keep_their_kinds(read):
    table = read(FRAME)
    assert table.classes == ("a", "b")
    assert table.labels.tolist() == [1, 1, 1, 1, 0, 0]
    assert table.positive == 0
    np.testing.assert_array_equal(table.numbers[:, 0], FRAME.width)
    assert table.codes[:, 0].tolist() == [1, 0, 1, 2, 0, 1]  # blue, red, missing


def test_a_value_may_stand_for_a_missing_one(read):
    frame = FRAME.assign(width=["1", "2", "?", "4", "5", "6"])
    assert np.isnan(read(frame, missing="?").numbers[2, 0])


def test_positive_classes_become_one(read):
    frame = FRAME.assign(target=[1, 2, 3, 3, 2, 3])
    table = read(frame, positive=("1", "2"))
    assert table.labels.tolist() == [1, 1, 0, 0, 1, 0]
    assert table.classes == ("rest", "positive")


def test_classes_that_are_numbers_come_in_their_order(read):
    table = read(FRAME.assign(target=[10, 9, 9, 10, 2, 2]), ordered=True)
    assert table.classes == ("2", "9", "10")
    assert table.ordered


def test_edges_cut_a_target_of_numbers(read):
    table = read(FRAME.assign(target=[0.5, 1.0, 2.5, 3.0, 0.0, 9.0]), edges=(1.0, 3.0))
    assert table.labels.tolist() == [0, 1, 1, 2, 0, 2]
    assert table.ordered


def test_columns_that_tell_nothing_are_left_out_and_said(read):
    frame = FRAME.assign(empty=np.nan, always=1, again=FRAME.width)
    table = read(frame)
    assert list(table.features) == ["width", "colour"]
    assert sorted(table.notes) == [
        "columns left out as constant: always",
        "columns left out as empty: empty",
        "columns left out as repeated: again",
    ]


def test_rows_are_dropped_to_a_factor_and_a_number(read):
    frame = pd.DataFrame({"x": np.arange(100.0), "target": [0] * 60 + [1] * 40})
    assert np.bincount(read(frame, factor=10).labels).tolist() == [60, 6]
    assert np.bincount(read(frame, rows=50).labels).tolist() == [30, 20]
    assert np.bincount(read(frame, factor=60).labels).tolist() == [60, 2]  # a row for each fold
    again = read(frame, factor=10)
    assert again.numbers.tolist() == read(frame, factor=10).numbers.tolist()


def test_the_fingerprint_is_of_values_not_of_files(read, tmp_path):
    path = tmp_path / "mine.parquet"
    FRAME.to_parquet(path)
    data = TableData(source="mine", fingerprint="any")
    fingerprint = read(FRAME).fingerprint
    assert load("mine", data, {"mine": path}).fingerprint == fingerprint
    assert read(FRAME.assign(width=FRAME.width + 1)).fingerprint != fingerprint
    assert read(FRAME.assign(target=["b", "b", "b", "a", "a", "a"])).fingerprint != fingerprint


@pytest.mark.parametrize(
    ("change", "keys", "words"),
    [
        ({}, {"target": "class"}, "has no column 'class' of classes; it has width, colour, target"),
        ({"target": ["a"] * 6}, {}, "has one class; there is nothing to tell apart"),
        ({"target": list("abbbbb")}, {}, "class a has 1 row, but two folds need 2"),
        ({"target": ["a", None, *"abbb"]}, {}, "row 1 has no class in column 'target'"),
        ({"width": [1, 2, np.inf, 4, 5, 6]}, {}, "column 'width' is infinite in row 2"),
        ({"width": ["1", "2", "3", "4,5", "6", "7"]}, {}, "column 'width' holds '4,5' in row 3"),
        (
            {"width": [1.0] * 6, "colour": ["red"] * 6},
            {},
            "has no column that tells its rows apart",
        ),
        ({}, {"fingerprint": "0" * 16}, "but the protocol is fixed to 0000000000000000"),
        ({}, {"positive": ("c",)}, "unknown class 'c'"),
        ({}, {"edges": (1.0,)}, "edges need a target of numbers"),
    ],
)
def test_a_fault_is_told_in_a_line(read, change, keys, words):
    with pytest.raises(LTBenchError) as refusal:
        read(FRAME.assign(**change), **keys)
    assert words in str(refusal.value)
    assert "table mine" in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_file_that_is_no_table_is_refused(tmp_path):
    path = tmp_path / "mine.parquet"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(LTBenchError, match="cannot be read as a table"):
        load("mine", TableData(source="mine", fingerprint="any"), {"mine": path})


def test_two_columns_of_one_name_are_refused(tmp_path, monkeypatch):
    frame = pd.concat([FRAME, FRAME[["width"]]], axis=1)
    monkeypatch.setattr(reading, "read_file", lambda path, dialect: whole(frame))
    with pytest.raises(LTBenchError, match="two columns called 'width'"):
        load("mine", TableData(source="mine", fingerprint="any"), {"mine": tmp_path})


def test_what_scikit_learn_ships_is_read():
    table = load("wine", TableData(source="scikit-learn/wine", fingerprint="1570c9b303c0563f"), {})
    assert np.bincount(table.labels).tolist() == [59, 71, 48]
    with pytest.raises(LTBenchError, match="did you mean 'wine'"):
        load("wine", TableData(source="scikit-learn/wines", fingerprint="any"), {})


def test_a_table_of_the_data_folder_comes_before_openml(tmp_path, monkeypatch):
    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path))
    (tmp_path / "tabular").mkdir()
    FRAME.to_csv(tmp_path / "tabular" / "mine.csv", index=False)
    assert in_data_folder() == ["tabular/mine"]
    assert len(load("mine", TableData("tabular/mine", "any", openml=1), {})) == 6


def test_a_missing_table_is_fetched_from_openml(tmp_path, monkeypatch):
    from sklearn import datasets
    from sklearn.utils import Bunch

    asked = []

    def fetch(**given):
        asked.append(given)
        return Bunch(data=FRAME.drop(columns="target"), target=FRAME.target.astype("category"))

    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path))
    monkeypatch.setattr(datasets, "fetch_openml", fetch)
    reading._fetched.cache_clear()
    data = TableData("openml/mine", "any", openml=1234)
    assert load("mine", data, {}).labels.tolist() == [1, 1, 1, 1, 0, 0]
    assert load("mine", data, {}).labels.tolist() == [1, 1, 1, 1, 0, 0]
    assert [given["data_id"] for given in asked] == [1234]
    assert asked[0]["data_home"] == tmp_path / "openml"
    reading._fetched.cache_clear()


def test_a_table_that_cannot_be_fetched_is_told(tmp_path, monkeypatch):
    from urllib.error import URLError

    from sklearn import datasets

    def fetch(**given):
        raise URLError("no network")

    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path))
    monkeypatch.setattr(datasets, "fetch_openml", fetch)
    reading._fetched.cache_clear()
    with pytest.raises(LTBenchError, match="number 31 .*no network.*set LTBENCH_DATA"):
        load("mine", TableData("openml/mine", "any", openml=31), {})
    with pytest.raises(LTBenchError, match="unknown table 'mine'"):
        load("mine", TableData("mine", "any"), {})


def classes(read, target, **keys):
    rows = read(pd.DataFrame({"x": np.arange(len(target)) % 5 * 1.5, "target": target}), **keys)
    return rows.classes, np.bincount(rows.labels).tolist(), list(rows.notes)


@pytest.mark.parametrize("word", ["NA", "None", "null", "nan", "N/A", "n/a", "<NA>", "NULL"])
def test_a_class_may_be_called_what_others_take_for_missing(read, word):
    target = [word, "mild", word, "mild", word]
    told = f"classes that may stand for missing values, if missing says so: {word}"
    names = tuple(sorted((word, "mild")))
    assert classes(read, target) == (names, [3, 2] if names[0] == word else [2, 3], [told])
    with pytest.raises(LTBenchError, match="row 0 has no class in column 'target'"):
        classes(read, target, missing=word)


def test_blanks_make_no_class_and_case_is_told(read):
    found = classes(read, ["yes ", "yes", "no", "no"])
    assert found[:2] == (("no", "yes"), [2, 2])
    assert "differed in blanks" in found[2][0]
    found = classes(read, ["Yes", "yes", "Yes", "yes"])
    assert found == (("Yes", "yes"), [2, 2], ["classes that differ in case alone: Yes, yes"])


def test_one_number_written_in_two_ways_is_two_classes_and_told(read):
    found = classes(read, ["01", "1", "001", "other"] * 2)
    told = ["classes that are one number: 001, 01, 1"]
    assert found == (("001", "01", "1", "other"), [2] * 4, told)


def test_classes_come_in_one_order_in_every_process(tmp_path):
    """Their order hung on that of a set, and so on the hash seed of the process."""
    path = tmp_path / "mine.parquet"
    frame = pd.DataFrame({"x": range(40), "target": ["nan", "01", "1", "001", "other"] * 8})
    frame.to_parquet(path)
    ask = (
        "import sys, pathlib\n"
        "from ltbench.tracks.tabular.problem import TableData\n"
        "from ltbench.tracks.tabular.tables import load\n"
        "print(load('t', TableData('t', 'any'), {'t': pathlib.Path(sys.argv[1])}).classes)\n"
    )
    for seed in "012":
        told = subprocess.run(
            [sys.executable, "-c", ask, str(path)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert told.stdout == "('001', '01', '1', 'nan', 'other')\n"


def test_a_number_may_stand_for_a_missing_one(read):
    frame = FRAME.assign(width=[1, -999, 3, 4, 5, 6])
    assert np.isnan(read(frame, missing="-999").numbers[1, 0])
    words = read(FRAME.assign(width=["1", "?", "-", "4", "5", "6"]), missing=("?", "-"))
    assert np.isnan(words.numbers[:, 0]).tolist() == [False, True, True, False, False, False]
    assert "missing value '?' is nowhere in it" in read(FRAME, missing="?").notes


def test_columns_are_dropped_before_they_are_read(read):
    frame = FRAME.assign(when=["01/02/2020", "03/04/2020"] * 3)
    with pytest.raises(LTBenchError, match="table mine: column 'when' holds dates"):
        read(frame)
    assert list(read(frame, drop=("when", "colour")).features) == ["width"]
    assert list(read(frame, categories=("when",)).features) == ["width", "colour", "when"]
    with pytest.raises(LTBenchError, match="no column 'Width' to drop; .*; did you mean 'width'"):
        read(FRAME, drop=("Width",))
    with pytest.raises(LTBenchError, match="it has no column 'x' of categories"):
        read(FRAME, categories=("x",))


def test_the_positive_class_is_the_rarer_and_of_equals_the_one_that_is_named(read):
    tied = ["a", "a", "b", "b"]
    frame = pd.DataFrame({"x": range(4), "target": tied})
    assert read(frame).positive == 0
    assert read(frame, positive=("a",)).positive == 1
    assert read(frame, positive=("b",)).positive == 1
    assert read(frame.assign(target=["a", "a", "b", "c"]).loc[[0, 1, 2, 2, 3, 3]]).positive is None
    many = read(frame.assign(target=["a", "b", "b", "b"]).loc[[0, 0, 1, 2, 3]], positive=("b",))
    assert many.positive == 0
    assert "positive classes have more rows than the rest" in many.notes[0]


def test_the_rare_class_is_that_of_all_rows_also_where_rows_are_dropped(read):
    frame = pd.DataFrame({"x": np.arange(101) % 9, "target": ["a"] * 51 + ["b"] * 50})
    assert np.bincount(read(frame, rows=50).labels).tolist() == [25, 25]
    assert read(frame).positive == read(frame, rows=50).positive == 1


def test_a_target_of_many_numbers_is_no_set_of_classes(read):
    with pytest.raises(LTBenchError, match="'target' holds 30 different numbers, .* edges in the"):
        classes(read, np.arange(30) + 0.5)
    assert classes(read, ["0,5", "0,5", "3,5", "3,5"], edges=(1.0,))[1] == [2, 2]


def test_a_class_that_is_a_date_is_called_as_it_is_written(tmp_path):
    path = tmp_path / "mine.parquet"
    days = pd.to_datetime(["2020-01-01", "2020-01-02"] * 4)
    pd.DataFrame({"x": np.arange(8) % 3, "target": days}).to_parquet(path)
    assert load("t", TableData("t", "any"), {"t": path}).classes == ("2020-01-01", "2020-01-02")


def test_a_table_that_would_fill_the_memory_is_refused(read, monkeypatch):
    from ltbench.tracks.tabular import tables

    monkeypatch.setattr(tables, "MOST_BYTES", 10)
    with pytest.raises(LTBenchError, match="6 rows would become 3 columns .* drop = ..colour.."):
        read(FRAME)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": np.eye(6)}, "is sparse, which no column of a table is; save it as openml/t.csv"),
        ({"target": FRAME[["target", "width"]]}, "has 2 targets: target, width"),
        ({"data": FRAME}, 'has a column "target" that is not its target'),
        ({"target": None}, "has no column 'target' of classes; it has width, colour"),
    ],
)
def test_what_openml_has_beside_plain_tables_is_refused_in_a_line(monkeypatch, change, words):
    from sklearn import datasets
    from sklearn.utils import Bunch

    held = {"data": FRAME.drop(columns="target"), "target": FRAME.target, **change}
    monkeypatch.setattr(datasets, "fetch_openml", lambda **given: Bunch(**held))
    reading._fetched.cache_clear()
    with pytest.raises(LTBenchError) as refusal:
        load("t", TableData("openml/t", "any", openml=1), {})
    reading._fetched.cache_clear()
    assert words in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_download_that_is_cut_off_is_refused_in_a_line(monkeypatch):
    from sklearn import datasets

    class Fault(Exception):
        """Any at all, such as that of a parser."""

    def fetch(**given):
        raise Fault("cut off")

    monkeypatch.setattr(datasets, "fetch_openml", fetch)
    reading._fetched.cache_clear()
    with pytest.raises(LTBenchError, match="could not be fetched from OpenML, number 1 .cut off"):
        load("t", TableData("openml/t", "any", openml=1), {})


def test_a_target_that_is_no_text_or_an_index_is_found(tmp_path):
    path = tmp_path / "mine.parquet"
    frame = pd.DataFrame(np.arange(24).reshape(8, 3) % 5).assign(t=list("abababab"))
    frame.columns = [0, 1, 2, 3]
    frame.to_parquet(path)
    assert load("t", TableData("t", "any", target="3"), {"t": path}).classes == ("a", "b")
    frame.set_axis(list("xyzt"), axis=1).set_index("t").to_parquet(path)
    assert load("t", TableData("t", "any", target="t"), {"t": path}).classes == ("a", "b")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"drop": ["target"]}, "drop leaves out the target 'target'"),
        ({"separator": "::"}, "at tables"),
        ({"separator": '"'}, "at tables"),
        ({"decimal": ";"}, "at tables"),
        ({"missing": 3}, "at tables"),
    ],
)
def test_keys_that_no_table_can_have_are_refused(keys, words):
    tables = {"mine": {"source": "mine", "fingerprint": "any", **keys}}
    with pytest.raises(LTBenchError, match=words):
        convert("it", {"tables": tables}, Tables)


def test_keys_at_their_defaults_are_in_no_hash():
    told = msgspec.to_builtins(TableData("mine", "any"))
    assert told == {"source": "mine", "fingerprint": "any"}
    assert msgspec.to_builtins(TableData("mine", "any", missing="?"))["missing"] == "?"
    assert convert("it", {"tables": {"m": {**told, "separator": "\t"}}}, Tables)
