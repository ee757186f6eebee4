import pytest
from msgspec import structs
from sample_record import PREDICTIONS, RECORD

from ltbench import LTBenchError
from ltbench.api import leaderboard, run
from ltbench.results.merging import merge
from ltbench.results.records import Timing, arrays_of, path_of, read, write


def held(folder, **changes):
    record = structs.replace(RECORD, **changes)
    return write(folder, record, PREDICTIONS if record.status == "ok" else None)


def test_records_of_several_folders_come_together(tmp_path):
    first, second = held(tmp_path / "a", seed=0), held(tmp_path / "b", seed=1)
    done = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all")
    assert (done.taken, done.equal) == (2, 0)
    for record in (first, second):
        assert read(path_of(tmp_path / "all", "tiny", record.recipe, record.seed)) == record
        assert (arrays_of(tmp_path / "all", record)["labels"] == [0, 1]).all()


def test_one_cell_in_two_folders_counts_once_whatever_it_took(tmp_path):
    kept = held(tmp_path / "all")
    held(tmp_path / "a", timing=Timing(9.0, 9.0, 9.0, 1.0, 1.0, 1.0))
    done = merge([tmp_path / "a"], tmp_path / "all")
    assert (done.taken, done.equal) == (0, 1)
    assert read(path_of(tmp_path / "all", "tiny", kept.recipe, 3)) == kept


def test_what_a_clock_tells_may_differ(tmp_path, ltbench):
    timed = {"latency": 0.5, "twin_seconds": 1.0}
    held(tmp_path / "all", track="compression", measures={"accuracy": 0.5, **timed})
    others = {name: 2 * value for name, value in timed.items()}
    held(tmp_path / "a", track="compression", measures={"accuracy": 0.5, **others})
    done = ltbench("merge", "a", "--into", "all")
    told = "all: 0 records taken, 1 were there already, 0 others stay\n"
    assert (done.exit_code, done.stderr) == (0, told)
    held(tmp_path / "b", track="compression", measures={"accuracy": 0.25, **others})
    done = ltbench("merge", "b", "--into", "all")
    assert done.exit_code == 2
    assert "its measure accuracy differs; nothing was merged" in done.stderr


def test_of_a_track_that_is_not_here_no_measure_may_differ(tmp_path, ltbench):
    held(tmp_path / "all", track="ranging", measures={"error": 0.5})
    held(tmp_path / "a", track="ranging", measures={"error": 0.25})
    assert "its measure error differs" in ltbench("merge", "a", "--into", "all").stderr


def test_a_record_that_does_not_tell_what_its_method_imported_is_of_the_same_code(tmp_path):
    sam = RECORD.plugins["sam"]
    tells = {"sam": structs.replace(sam, imported="bbbb")}
    held(tmp_path / "a", plugins=tells)
    held(tmp_path / "b")
    assert merge([tmp_path / "b"], tmp_path / "a").taken == 0
    assert merge([tmp_path / "a"], tmp_path / "b").taken == 0
    held(tmp_path / "c", plugins={"sam": structs.replace(sam, imported="cccc")})
    with pytest.raises(LTBenchError, match="its code differs"):
        merge([tmp_path / "c"], tmp_path / "a")


def test_a_cell_that_was_not_finished_gives_way_to_one_that_was(tmp_path):
    for status in ("failed", "timeout", "out-of-memory"):
        into = tmp_path / status
        held(into, status=status, measures={}, timing=None)
        whole = held(tmp_path / "a")
        assert merge([tmp_path / "a"], into).taken == 1
        assert read(path_of(into, "tiny", whole.recipe, 3)) == whole
        held(tmp_path / "b", status=status, measures={}, timing=None)
        assert merge([tmp_path / "b"], into).taken == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"measures": {"balanced_accuracy": 0.9}}, "its measure balanced_accuracy differs"),
        ({"hash": "fedcba9876543210"}, "its hash differs"),
        ({"fingerprint": "0"}, "its fingerprint differs"),
    ],
)
def test_a_conflict_is_told_and_nothing_is_merged(tmp_path, changes, words):
    held(tmp_path / "a", seed=0)
    held(tmp_path / "a", seed=3)
    held(tmp_path / "b", seed=3, **changes)
    with pytest.raises(LTBenchError, match=words):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all")
    assert not (tmp_path / "all").exists()


@pytest.mark.parametrize("broken", [lambda file: file.unlink(), lambda file: file.write_bytes(b"")])
def test_a_record_without_its_predictions_stops_a_merge(tmp_path, broken):
    held(tmp_path / "a", seed=0)
    held(tmp_path / "a")
    broken(path_of(tmp_path / "a", "tiny", RECORD.recipe, 3).with_suffix(".npz"))
    with pytest.raises(LTBenchError, match="seed-3.npz is missing or not the file"):
        merge([tmp_path / "a"], tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_what_is_no_record_stops_a_merge(tmp_path):
    held(tmp_path / "a")
    path_of(tmp_path / "a", "tiny", RECORD.recipe, 4).write_text("{")
    with pytest.raises(LTBenchError, match="seed-4.json is left in place"):
        merge([tmp_path / "a"], tmp_path / "all")
    with pytest.raises(LTBenchError, match="nowhere holds no records"):
        merge([tmp_path / "nowhere"], tmp_path / "all")


def test_shards_together_are_the_whole_run(tiny, tmp_path):
    whole = run(tiny, results=tmp_path / "whole")
    for part in (1, 2, 3):
        run(tiny, results=tmp_path / f"part-{part}", shard=(part, 3))
    merge([tmp_path / f"part-{part}" for part in (1, 2, 3)], tmp_path / "all")
    cost = ["relative", "relative_low", "relative_high", "passes", "work", "peak_memory_mb"]
    first, second = (
        leaderboard(tiny, results=tmp_path / name).drop(columns=cost) for name in ("whole", "all")
    )
    assert first.equals(second)
    assert len(whole) == 4


@pytest.mark.parametrize("shard", [(0, 2), (3, 2), (1, 0)])
def test_a_shard_that_is_none_is_refused(tiny, tmp_path, shard):
    with pytest.raises(LTBenchError, match="is none; the first of two is 1/2"):
        run(tiny, results=tmp_path, shard=shard)


def test_a_merge_tells_what_became_of_every_record_and_writes_the_tables(tiny, tmp_path, ltbench):
    run(tiny, ["erm"], 2, results=tmp_path / "all")
    run(tiny, ["erm", "logit-adjustment"], 1, results=tmp_path / "part")
    done = ltbench("merge", "part", "--into", "all")
    told, *tables = done.stderr.splitlines()
    assert told == "all: 1 records taken, 1 were there already, 1 others stay"
    assert "no table of tiny was written: unknown protocol 'tiny'" in tables[0]
    run("digits-lt", ["erm"], 1, results=tmp_path / "digits")
    done = ltbench("merge", "digits", "--into", "all")
    assert done.stderr.endswith("all/digits-lt/table.md written\n")
    assert "`erm`" in (tmp_path / "all" / "digits-lt" / "table.md").read_text()
