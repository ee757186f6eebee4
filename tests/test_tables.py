import numpy as np
import pandas as pd
import pytest

from ltbench import LTBenchError
from ltbench.tracks.tabular import tables
from ltbench.tracks.tabular.problem import TableData
from ltbench.tracks.tabular.sources import in_data_folder
from ltbench.tracks.tabular.tables import load

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
        tables._read_cached.cache_clear()
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
    monkeypatch.setattr(tables, "_read_cached", lambda path: (frame, "f"))
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
    tables._fetched.cache_clear()
    data = TableData("openml/mine", "any", openml=1234)
    assert load("mine", data, {}).labels.tolist() == [1, 1, 1, 1, 0, 0]
    assert load("mine", data, {}).labels.tolist() == [1, 1, 1, 1, 0, 0]
    assert [given["data_id"] for given in asked] == [1234]
    assert asked[0]["data_home"] == tmp_path / "openml"
    tables._fetched.cache_clear()


def test_a_table_that_cannot_be_fetched_is_told(tmp_path, monkeypatch):
    from urllib.error import URLError

    from sklearn import datasets

    def fetch(**given):
        raise URLError("no network")

    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path))
    monkeypatch.setattr(datasets, "fetch_openml", fetch)
    tables._fetched.cache_clear()
    with pytest.raises(LTBenchError, match="number 31 .*no network.*set LTBENCH_DATA"):
        load("mine", TableData("openml/mine", "any", openml=31), {})
    with pytest.raises(LTBenchError, match="unknown table 'mine'"):
        load("mine", TableData("mine", "any"), {})
