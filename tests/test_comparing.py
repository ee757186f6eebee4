"""What a change moved is told row by row, with what could be chance held apart."""

import json
import subprocess

import numpy as np
import pytest
from msgspec import structs
from sample_record import RECORD

import ltbench
from ltbench import LTBenchError
from ltbench.boards.comparing import bound, compare, markdown
from ltbench.errors import UnknownName
from ltbench.registry.registry import installed
from ltbench.results.records import write

PROTOCOL = ltbench.protocol("digits-lt")


def kept(results, recipe, reached, cost=1.0, predicted=None, **changes):
    """Records of a recipe with a balanced accuracy on each seed."""
    timing = structs.replace(RECORD.timing, relative=cost)
    for seed, value in enumerate(reached):
        one = structs.replace(
            RECORD,
            protocol=PROTOCOL.name,
            hash=PROTOCOL.hash,
            recipe=recipe,
            seed=seed,
            timing=timing,
            measures={"balanced_accuracy": value, "few": value / 2},
            class_counts=[10] * 10,
            **changes,
        )
        arrays = None
        if predicted is not None:
            labels = np.zeros(len(predicted), dtype=np.uint8)
            arrays = {"labels": labels, "predicted": np.array(predicted, dtype=np.uint8)}
        write(results, one, arrays)


@pytest.fixture
def sides(tmp_path):
    """An old and a new folder that have a row in common, which did not move."""
    old, new = tmp_path / "old", tmp_path / "new"
    for side in (old, new):
        kept(side, "erm", [0.5, 0.6, 0.7])
    return old, new


def told(sides, *bounds):
    (one,), rejected = compare(installed(), *sides, [], [bound(text) for text in bounds])
    assert rejected == []
    return one


def test_rows_are_new_gone_changed_or_as_before(sides):
    kept(sides[0], "ldam", [0.5, 0.6, 0.7])
    kept(sides[1], "drw", [0.5, 0.6, 0.7])
    kept(sides[0], "sam", [0.5, 0.6, 0.7], cost=2.0, predicted=[0, 1, 1])
    kept(sides[1], "sam", [0.6, 0.7, 0.8], cost=1.0, predicted=[0, 0, 1])
    one = told(sides)
    assert (one.gone, one.new, one.same) == (["ldam"], ["drw"], 1)
    (row,) = one.changed
    assert (row.recipe, row.seeds, row.other, row.rows) == ("sam", 3, 3, 9)
    assert (row.old, row.new) == (pytest.approx(0.6), pytest.approx(0.7))
    assert (row.difference.mean, row.cost.mean) == (pytest.approx(0.1), pytest.approx(0.5))
    text = markdown([one])
    assert "Gone: `ldam`." in text
    assert "+10.0" in text
    assert "3 of 9" in text
    assert "1 row is as before, to the bit." in text


def test_the_difference_is_over_the_seeds_that_both_sides_finished(sides):
    kept(sides[0], "sam", [0.5, 0.6, 0.7])
    kept(sides[1], "sam", [0.6, 0.7])
    kept(sides[1], "ldam", [0.5])
    kept(sides[0], "ldam", [0.5, 0.6])
    kept(sides[1], "ldam", [0.5, 0.9], status="failed")
    rows = {row.recipe: row for row in told(sides).changed}
    assert rows["sam"].seeds == 2
    assert rows["sam"].status == ["seed 2: ok, now missing"]
    assert rows["ldam"].seeds == 0
    assert rows["ldam"].difference.mean is None
    assert rows["ldam"].status == ["seed 0: ok, now failed", "seed 1: ok, now failed"]


@pytest.mark.parametrize(
    ("text", "breaks"),
    [
        ("balanced_accuracy:-0.5", True),
        ("balanced_accuracy:-2", False),
        ("balanced_accuracy:+0.5", False),
        ("balanced_accuracy:-1%", True),
        ("balanced_accuracy:-10%", False),
        ("few:-0.4", True),
        ("cost:+25%", True),
        ("cost:+60%", False),
        ("cost:-25%", False),
    ],
)
def test_a_bound_fails_what_moves_beyond_it(sides, text, breaks):
    kept(sides[0], "sam", [0.5, 0.6, 0.7], cost=2.0)
    for side in sides:  # costs that spread, as no interval is told of others
        kept(side, "drw", [0.5])
    kept(sides[1], "sam", [0.49, 0.589, 0.691], cost=3.0)
    one = told(sides, text)
    (row,) = one.changed
    # a ratio that does not spread has no interval, and fails nothing
    broke = breaks and not text.startswith("cost")
    assert (row.failed, one.failed) == ([text] if broke else [], broke)


def test_a_cost_beyond_its_bound_fails_where_seeds_agree(sides):
    kept(sides[0], "sam", [0.5, 0.6, 0.7], cost=2.0)
    for seed, cost in enumerate([2.9, 3.0, 3.1]):
        timing = structs.replace(RECORD.timing, relative=cost)
        told_of = {"protocol": PROTOCOL.name, "hash": PROTOCOL.hash, "recipe": "sam", "seed": seed}
        measures = {"balanced_accuracy": 0.51 + seed / 10}
        write(sides[1], structs.replace(RECORD, timing=timing, measures=measures, **told_of), None)
    assert told(sides, "cost:+25%").failed
    assert not told(sides, "cost:+60%").failed


def test_what_lies_within_the_interval_does_not_fail(sides):
    kept(sides[0], "sam", [0.5, 0.6, 0.7])
    kept(sides[1], "sam", [0.3, 0.7, 0.5])  # 20, -10 and 20 points less
    assert not told(sides, "balanced_accuracy:-0.5").failed


@pytest.mark.parametrize("text", ["accuracy", "accuracy:", "accuracy:0.5", ":-1", "cost:+x%"])
def test_a_bound_that_is_none_is_refused(text):
    with pytest.raises(LTBenchError, match="expected MEASURE:-0.5, MEASURE:\\+2 or cost:\\+25%"):
        bound(text)


def test_a_measure_that_no_track_has_is_refused(sides):
    with pytest.raises(UnknownName, match="'accurracy'.*did you mean 'accuracy'"):
        told(sides, "accurracy:-1")


def test_two_protocols_or_data_are_never_set_side_by_side(sides):
    kept(sides[1], "erm", [0.5], fingerprint="other")
    assert told(sides).refused == "old and new records are of different data"
    other = structs.replace(RECORD, protocol=PROTOCOL.name, recipe="erm", seed=0, version=7)
    write(sides[1], other, None)
    one = told(sides)
    assert one.refused.startswith("new records are of version 7 (0123456789abcdef), and digits-lt")
    assert (one.changed, one.new, one.failed) == ([], [], False)
    assert "Not set side by side" in markdown([one])


def test_protocols_that_are_not_there_and_folders_without_records_are_refused(sides, tmp_path):
    with pytest.raises(UnknownName, match="mnist-lt-100"):
        compare(installed(), *sides, ["mnist-lt-100"])
    with pytest.raises(LTBenchError, match="empty holds no records"):
        compare(installed(), sides[0], tmp_path / "empty")


def test_the_command_compares_with_a_revision(tmp_path, ltbench):
    kept(tmp_path / "leaderboards", "sam", [0.5, 0.6, 0.7])
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "before"]):
        subprocess.run([*git, *words], cwd=tmp_path, check=True)
    kept(tmp_path / "leaderboards", "sam", [0.4, 0.49, 0.61])
    found = ltbench("compare", "git:HEAD", "leaderboards", "--fail", "balanced_accuracy:-0.5")
    assert found.exit_code == 1
    assert "-10.0 ± 2.5" in found.stdout
    assert "**beyond balanced_accuracy:-0.5**" in found.stdout
    (one,) = json.loads(ltbench("compare", "git:HEAD", "leaderboards", "--format", "json").stdout)
    assert one["changed"][0]["difference"]["mean"] == pytest.approx(-0.1)
    assert ltbench("compare", "git:HEAD", "git:HEAD").exit_code == 0


@pytest.mark.parametrize(
    ("old", "told_of"),
    [
        ("git:nowhere", "git has no folder leaderboards there"),
        ("git:", "expected git:REVISION"),
        ("git:--help", "expected git:REVISION"),
        ("nothing", "nothing is no folder"),
    ],
)
def test_what_is_no_folder_or_revision_is_refused(tmp_path, ltbench, old, told_of):
    kept(tmp_path / "leaderboards", "sam", [0.5])
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    found = ltbench("compare", old, "leaderboards")
    assert found.exit_code == 2
    assert told_of in found.stderr
    assert "Traceback" not in found.stderr
