import os

import numpy as np
import pytest
from msgspec import structs
from sample_record import RECORD

from ltbench.results import index, records
from ltbench.results.record_arrays import columns
from ltbench.results.records import Rejected, Timing, path_of, write
from ltbench.scoring.measures import NAMES

PROTOCOL = RECORD.protocol


@pytest.fixture
def many(tmp_path, monkeypatch):
    """Records of two recipes, of which the first has enough to be indexed."""
    monkeypatch.setattr(index, "INDEXED_FROM", 3)
    monkeypatch.setattr(index, "SETTLED", 0.0)
    for recipe, seeds in (("erm", 4), ("sam", 2)):
        for seed in range(seeds):
            add(tmp_path, recipe, seed, seed / 10)
    return tmp_path


def add(folder, recipe, seed, accuracy, **more):
    told = {"measures": {"accuracy": accuracy}, "timing": Timing(1.0, 1.0, 1.0, 2.0, 1.0, 5.0)}
    write(folder, structs.replace(RECORD, recipe=recipe, seed=seed, **{**told, **more}), None)


def rows(part):
    """What columns say, row by row, in no order."""
    return {
        (part.recipes[part.recipe[n]], part.seed[n], part.kinds[part.kind[n]]): (
            *part.measures[n][~np.isnan(part.measures[n])],
            *part.costs[n],
        )
        for n in range(len(part))
    }


def everything(folder):
    return rows(columns(list(records.read_all(folder, PROTOCOL)), NAMES))


def read(folder):
    part, rejected = index.read(folder, PROTOCOL, NAMES)
    assert not rejected
    return rows(part)


def opened(monkeypatch):
    """The names of the records that are opened from now on."""
    names, real = [], records.read
    monkeypatch.setattr(records, "read", lambda path: [names.append(path.stem), real(path)][1])
    return names


def test_an_index_says_what_the_records_say(many):
    assert read(many) == everything(many)
    assert [path.name for path in (many / PROTOCOL / "index").iterdir()] == ["erm"]
    assert read(many) == everything(many)


def test_only_new_records_are_opened(many, monkeypatch):
    read(many)
    add(many, "erm", 9, 0.9)
    expected, names = everything(many), opened(monkeypatch)
    assert read(many) == expected
    assert names == ["seed-9", "seed-0", "seed-1"]  # the last two are sam's, which has few
    del names[:]
    assert read(many) == expected
    assert names == ["seed-0", "seed-1"]


def test_a_record_that_was_made_again_counts_once(many):
    read(many)
    add(many, "erm", 2, 0.75, status="ok", notes=["another"])
    assert read(many) == everything(many)
    path_of(many, PROTOCOL, "erm", 3).unlink()
    assert read(many) == everything(many)
    assert len(read(many)) == 5


def test_a_folder_that_has_just_changed_is_looked_at_again(many, monkeypatch):
    monkeypatch.setattr(index, "SETTLED", 3600.0)
    read(many)
    folder = path_of(many, PROTOCOL, "erm", 0).parent
    before = folder.stat()
    add(many, "erm", 9, 0.9)
    os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))  # as within one tick of a clock
    assert read(many) == everything(many)


@pytest.mark.parametrize("keep", [0, 10, 500, -5])
def test_a_damaged_index_is_made_anew(many, keep):
    read(many)
    path = many / PROTOCOL / "index" / "erm"
    path.write_bytes(path.read_bytes()[:keep])
    add(many, "erm", 9, 0.9)
    assert read(many) == everything(many)
    assert read(many) == everything(many)


def test_a_file_that_does_not_count_is_told_each_time(many):
    path = path_of(many, PROTOCOL, "erm", 1)
    text = path.read_text().replace("0.1", "0.8")
    path.unlink()
    path.write_text(text)
    for _ in range(2):
        part, rejected = index.read(many, PROTOCOL, NAMES)
        assert len(part) == 5
        assert [type(one) for one in rejected] == [Rejected]
        assert "changed by hand" in str(rejected[0])


def test_records_that_tell_more_are_kept_whole(many):
    add(many, "erm", 9, 0.9, transductive={"accuracy": 0.95})
    part, _ = index.read(many, PROTOCOL, NAMES)
    assert [one.seed for one in part.whole.values()] == [9]
    assert not (many / PROTOCOL / "index").exists()


def test_an_index_that_cannot_be_written_only_costs_time(many):
    (many / PROTOCOL / "index").write_text("a file in the way")
    assert read(many) == everything(many)
