"""Files of tables, packed, mislabelled, damaged or written in another way, are read or refused."""

import bz2
import csv
import gzip
import io
import lzma
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ltbench import LTBenchError
from ltbench.datasets import of_files
from ltbench.datasets.columns import tidy
from ltbench.datasets.tables import Dialect, is_table, read_file, whole
from ltbench.tracks.tabular.problem import TableData
from ltbench.tracks.tabular.tables import load

FRAME = pd.DataFrame({"x": [0.5, 1.5, np.nan, -3.25], "target": ["a", "b", "b", "a"]})
TEXT = FRAME.to_csv(index=False).encode()


def parquet(frame=FRAME):
    held = io.BytesIO()
    frame.to_parquet(held)
    return held.getvalue()


def zipped(files):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return held.getvalue()


@pytest.fixture
def read(tmp_path):
    """Reads bytes as a file of some name."""

    def call(data, name="mine.csv", dialect=None):
        (tmp_path / name).write_bytes(data)
        return read_file(tmp_path / name, dialect or Dialect())

    return call


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (TEXT, "mine.csv"),
        (TEXT, "mine.data"),
        (gzip.compress(TEXT, mtime=0), "mine.csv.gz"),
        (gzip.compress(TEXT, mtime=0), "mine.csv"),
        (bz2.compress(TEXT), "mine.csv"),
        (lzma.compress(TEXT), "mine.csv"),
        (zipped({"mine.csv": TEXT}), "mine.zip"),
        (zipped({"mine.csv": TEXT, "__MACOSX/mine": b"x", ".DS_Store": b"x"}), "mine.csv"),
        (parquet(), "mine.parquet"),
        (parquet(), "mine.csv"),
        (gzip.compress(parquet(), mtime=0), "mine.parquet.gz"),
        (b"\xef\xbb\xbf" + TEXT, "mine.csv"),
        (TEXT.decode().encode("utf-16"), "mine.csv"),
        (TEXT.replace(b"\n", b"\r\n"), "mine.csv"),
        (TEXT.replace(b"\n", b"\r"), "mine.csv"),
        (TEXT.replace(b".", b"#").replace(b",", b";").replace(b"#", b","), "mine.csv"),
    ],
)
def test_one_table_is_one_table_however_it_is_kept(read, data, name):
    assert read(data, name).fingerprint == whole(FRAME).fingerprint


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (gzip.compress(TEXT, mtime=0)[:-8], "mine.csv.gz", "it is packed, and damaged or locked"),
        (bz2.compress(TEXT)[:-8], "mine.csv", "it is packed, and damaged or locked"),
        (lzma.compress(TEXT)[:-8], "mine.csv", "it is packed, and damaged or locked"),
        (zipped({"a.csv": TEXT})[:-8], "mine.zip", "it is packed, and damaged or locked"),
        (
            zipped({"a.csv": TEXT, "b.csv": TEXT}),
            "mine.zip",
            "it packs a.csv, b.csv; unpack it, and",
        ),
        (
            zipped({"xl/workbook.xml": b""}),
            "mine.csv",
            "it is a workbook or document; save the table",
        ),
        (b"\xd0\xcf\x11\xe0....", "mine.csv", "it is an Excel workbook"),
        (parquet()[:-8], "mine.parquet", "Parquet magic bytes not found"),
        (TEXT, "mine.parquet", "it is no parquet file"),
        (b"<!DOCTYPE html><p>Please log in", "mine.csv", "it is a web page or XML"),
        (b"version https://git-lfs.github.com/spec/v1\n", "mine.csv", "it is a pointer of Git LFS"),
        (b"@RELATION iris\n", "mine.csv", "it is an ARFF file"),
        (b'[{"x": 1}]', "mine.csv", "it is JSON"),
        (b"", "mine.csv", "it is empty"),
        (bytes(range(256)), "mine.csv", "it is no text, or in an encoding that its first bytes do"),
        (b"x,x,target\n1,2,a\n", "mine.csv", "it has two columns called 'x'; rename one of them"),
    ],
)
def test_a_file_that_is_no_table_is_refused_in_a_line(read, data, name, words):
    with pytest.raises(LTBenchError) as refusal:
        read(data, name)
    assert words in str(refusal.value)
    assert f"{name} cannot be read as a table: " in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(LTBenchError, match="cannot be read as a table: No such file or directory"):
        read_file(tmp_path / "mine.csv")


def test_a_file_that_has_changed_is_read_anew(read):
    assert len(read(TEXT).frame) == 4
    assert len(read(TEXT + b"1,a\n").frame) == 5


def test_how_numbers_were_read_is_told(read):
    table = read(b"a;b;c;d\n1,5;1.000;2,5;x\n2;2.500;1;y\n")
    assert table.frame.a.tolist() == [1.5, 2]
    assert table.frame.b.tolist() == [1000, 2500]
    assert table.notes == (
        "columns read as numbers with decimal commas: a, c",
        "columns read as numbers with thousands set apart: b",
    )


def test_words_that_are_missing_elsewhere_are_words_beside_words_alone(read):
    table = read(b"a,b\nNA,NA\n1,None\n,x\n")
    assert table.frame.a.isna().tolist() == [True, False, True]
    assert table.frame.b.tolist() == ["NA", "None", "x"]


def test_one_number_that_is_written_in_two_ways_is_told(read):
    table = read(b"a,b,c\n1,1,0.5\n1.0,2,\n,3,0.5\n")
    assert table.frame.a.tolist()[:2] == [1, 1]
    assert table.notes == ("columns with one number written in several ways: a",)


def test_two_columns_of_one_name_in_parquet_are_refused(read):
    import pyarrow
    from pyarrow import parquet as file

    held = io.BytesIO()
    columns = [pyarrow.array([1.0]), pyarrow.array([2.0])]
    file.write_table(pyarrow.Table.from_arrays(columns, names=["x", "x"]), held)
    with pytest.raises(LTBenchError, match="two columns called 'x'"):
        read(held.getvalue(), "mine.parquet")


def test_labels_of_columns_become_texts_and_a_named_index_a_column(read):
    frame = pd.DataFrame({0: [1.0, 2.0], ("a", 1): [3.0, 4.0]}, index=pd.Index([5, 6], name="day"))
    assert list(whole(frame).frame.columns) == ["day", "0", "a 1"]
    numbered = pd.DataFrame(np.eye(2), index=[7, 7])
    assert list(read(parquet(numbered), "n.parquet").frame.columns) == ["0", "1"]


def test_tables_and_pictures_are_told_apart(tmp_path):
    pictures = pd.DataFrame({"img": [{"bytes": b"x"}], "label": [0]})
    (tmp_path / "pictures.parquet").write_bytes(parquet(pictures))
    (tmp_path / "table.parquet").write_bytes(parquet())
    (tmp_path / "arrays.npz").write_bytes(b"")
    (tmp_path / "table.tsv").write_bytes(TEXT)
    kinds = {path.name: is_table(path) for path in tmp_path.iterdir()}
    assert kinds == {
        "pictures.parquet": False,
        "table.parquet": True,
        "arrays.npz": False,
        "table.tsv": True,
    }
    assert not is_table(tmp_path)
    assert of_files(tmp_path / "table.tsv")().described() == {
        "kind": "table",
        "rows": 4,
        "columns": ["x", "target"],
        "fingerprint": whole(FRAME).fingerprint,
        "notes": [],
    }


NUMBERS = st.floats(-1e90, 1e90)
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Nd")), min_size=1)
VALUES = {
    "real": NUMBERS,
    "whole": st.integers(-(10**14), 10**14).map(float),
    "gaps": st.one_of(st.none(), NUMBERS),
}


@st.composite
def frames(draw):
    """Columns of numbers and of a few words, and classes."""
    rows = draw(st.integers(4, 12))
    columns = {}
    for k, kind in enumerate(draw(st.lists(st.sampled_from([*VALUES, "word"]), min_size=1))):
        words = st.sampled_from(draw(st.lists(WORDS.filter(tidy), min_size=2, max_size=3)))
        values = st.lists(VALUES.get(kind, words), min_size=rows, max_size=rows)
        columns[f"{kind} {k}"] = draw(values)
    return pd.DataFrame({**columns, "target": ["a", "b"] * (rows // 2) + ["a"] * (rows % 2)})


DIALECTS = {
    "sep": st.sampled_from([",", ";", "\t", "|"]),
    "decimal": st.sampled_from([".", ","]),
    "quoting": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    "lineterminator": st.sampled_from(["\n", "\r\n", "\r"]),
    "index": st.booleans(),
}
PACKED = {"": bytes, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def understood(path):
    """The features and labels of a table, or why it is refused."""
    try:
        rows = load("mine", TableData("mine", "any"), {"mine": path})
    except LTBenchError as error:
        return str(error)
    return {title: rows.features[title].tolist() for title in rows.features}, rows.labels.tolist()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    frame=frames(),
    dialect=st.fixed_dictionaries(DIALECTS),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    packed=st.sampled_from(sorted(PACKED)),
)
@example(
    frame=pd.DataFrame(
        {"x": [1.234, 5.678, 2.0, 3.5], "w": ["é;", '"', "#,", "\u00a0a"], "target": [*"abab"]}
    ),
    dialect={"sep": ";", "decimal": ",", "quoting": 0, "lineterminator": "\r\n", "index": True},
    encoding="utf-16",
    packed="gz",
)
def test_what_is_written_in_any_dialect_is_read_back_or_refused(
    tmp_path_factory, frame, dialect, encoding, packed
):
    folder = tmp_path_factory.mktemp("dialects")
    frame.to_parquet(folder / "mine.parquet", index=False)
    text = frame.to_csv(**dialect)
    (folder / "mine.csv").write_bytes(PACKED[packed](text.encode(encoding)))
    expected, found = understood(folder / "mine.parquet"), understood(folder / "mine.csv")
    if isinstance(found, str) and not isinstance(expected, str):
        assert "may be of decimals or of thousands" in found
    else:
        assert str(found) == str(expected)
