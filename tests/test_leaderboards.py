import pytest
from msgspec import structs

import ltbench
from ltbench import LTBenchError
from ltbench.boards import leaderboard
from ltbench.boards.reading import read
from ltbench.registry.registry import installed
from ltbench.results.records import Origin, Record, Timing, write


@pytest.fixture
def fixed(tiny):
    return ltbench.protocol(tiny)


@pytest.fixture
def record(fixed):
    def make(recipe, seed, score=None, status="ok", notes=(), relative=1.0, **more):
        return Record(
            protocol="tiny",
            version=1,
            hash=fixed.hash,
            track=fixed.track,
            fingerprint=fixed.data.fingerprint,
            recipe=recipe,
            parameters={},
            plugins={recipe: Origin("ltbench", "0.1.0", "aaaa")},
            seed=seed,
            status=status,
            reason="" if status == "ok" else "it broke",
            notes=list(notes),
            environment={"cpu": "a processor", "threads": 1, "torch": "2"},
            measures={} if score is None else {"balanced_accuracy": score, "accuracy": score},
            timing=Timing(2.0, 2.0, 1.0, relative, 1.0, 5.0) if score is not None else None,
            **more,
        )

    return make


def build(protocol, found, **more):
    return leaderboard.build(installed().track(protocol.track), protocol, found, **more)


def rows_by_name(board):
    return {row.recipe: row for row in board.rows}


def test_rows_come_best_first_with_paired_differences(fixed, record):
    found = [record("erm", s, 0.5 + 0.1 * s) for s in range(3)]
    found += [record("better", s, 0.6 + 0.1 * s + 0.01 * (s == 1)) for s in range(3)]
    board = build(fixed, found)
    assert [row.recipe for row in board.rows] == ["better", "erm"]
    better, erm = board.rows
    assert better.delta.mean == pytest.approx(0.31 / 3, abs=1e-6)
    assert better.delta.low > 0.08
    assert (better.rank, erm.rank) == ((1, 1), (2, 2))
    assert erm.delta.mean == 0
    assert erm.measures["balanced_accuracy"].mean == pytest.approx(0.6)
    assert erm.measures["few"].mean is None


def test_differences_are_over_shared_seeds_alone(fixed, record):
    found = [record("erm", 0, 0.5), record("erm", 1, 0.7)]
    found += [record("other", 1, 0.8), record("other", 2, 0.1)]
    assert rows_by_name(build(fixed, found))["other"].delta.mean == pytest.approx(0.1)


def test_without_plain_training_there_is_no_difference(fixed, record):
    (row,) = build(fixed, [record("other", 0, 0.5)]).rows
    assert row.delta is None


def test_failed_and_skipped_cells_are_shown(fixed, record):
    found = [record("erm", 0, 0.5), record("broken", 0, status="failed")]
    found += [record("needy", s, status="skipped") for s in range(2)]
    rows = rows_by_name(build(fixed, found))
    assert {s for s, n in rows["broken"].status.items() if n} == {"failed"}
    assert rows["needy"].status["skipped"] == 2
    assert rows["broken"].rank is None
    assert rows["broken"].notes == ["seed 0 failed: it broke"]
    assert [row.recipe for row in build(fixed, found).rows][0] == "erm"


def test_costs_are_medians_over_seeds(fixed, record):
    for relatives, median in (((1.0, 9.0, 2.0), 2.0), ((1.0, 3.0), 2.0), ((4.0,), 4.0)):
        found = [record("erm", s, 0.5, relative=r) for s, r in enumerate(relatives)]
        assert build(fixed, found).rows[0].cost.relative == median


def test_relative_accuracy_needs_both_references_of_a_seed(fixed, record):
    found = [record("erm", 0, 0.6), record("sam", 0, 0.7), record("vs", 0, 0.7)]
    there = {"even": {("erm", 0): 0.8, ("sam", 0): 0.9}}
    twin = structs.replace(fixed, scoring=structs.replace(fixed.scoring, balanced="even"))
    rows = rows_by_name(build(twin, found, elsewhere=lambda name, measure: there[name]))
    assert rows["erm"].measures["relative_accuracy"].mean == pytest.approx(0.75)
    assert rows["sam"].measures["relative_accuracy"].mean == pytest.approx(7 / 9, abs=1e-6)
    assert rows["vs"].measures["relative_accuracy"].mean is None


def test_what_used_test_inputs_stands_apart(fixed, record):
    found = [record("erm", 0, 0.6), record("x", 0, 0.5, transductive={"balanced_accuracy": 0.9})]
    board = build(fixed, found)
    assert [row.recipe for row in board.rows] == ["erm", "x"]
    assert board.rows[0].transductive is None
    assert board.rows[1].transductive["balanced_accuracy"].mean == 0.9


def test_notes_are_told_once(fixed, record):
    found = [record("erm", s, 0.5, notes=["tau stays 1"]) for s in range(3)]
    assert build(fixed, found).rows[0].notes == ["tau stays 1"]


def test_records_of_two_protocols_are_never_put_together(tmp_path, tiny, fixed, record):
    write(tmp_path, record("erm", 0, 0.5), None)
    write(tmp_path, structs.replace(record("erm", 1, 0.5), hash="feedfeedfeedfeed"), None)
    with pytest.raises(LTBenchError) as refusal:
        read(installed(), tiny, tmp_path)
    assert fixed.hash in str(refusal.value)
    assert "feedfeedfeedfeed" in str(refusal.value)


def test_records_of_different_data_are_never_put_together(tmp_path, tiny, record):
    write(tmp_path, record("erm", 0, 0.5), None)
    write(tmp_path, structs.replace(record("erm", 1, 0.5), fingerprint="feed"), None)
    with pytest.raises(LTBenchError, match=r"different data \(c10b9250e22f3a67 and feed\)"):
        read(installed(), tiny, tmp_path)


def test_files_that_do_not_count_are_named_and_the_others_counted(tmp_path, tiny, record):
    write(tmp_path, record("erm", 0, 0.5), None)
    write(tmp_path, record("erm", 1, 0.7), None)
    path = tmp_path / "tiny" / "records" / "erm" / "seed-1.json"
    path.write_text(path.read_text().replace("0.7", "0.9"))
    both = read(installed(), tiny, tmp_path)
    assert [rejected.path for rejected in both.rejected] == [path]
    assert both.board.content.rows[0].seeds == 1


def test_an_empty_folder_is_refused_with_the_way_out(tmp_path, tiny):
    with pytest.raises(LTBenchError, match="holds no records; ltbench run tiny makes them"):
        read(installed(), tiny, tmp_path)


def test_a_frame_has_a_row_for_each_recipe(tmp_path, tiny, record):
    for seed in range(2):
        write(tmp_path, record("erm", seed, 0.5), None)
    frame = ltbench.leaderboard(tiny, results=tmp_path)
    assert frame["recipe"].tolist() == ["erm"]
    assert frame["balanced_accuracy"].tolist() == [0.5]
    assert {"rank_best", "delta_low", "relative", "ok", "failed"} <= set(frame.columns)
