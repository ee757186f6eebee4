"""Recorded cells are run again beside their records, and the board tells what came of it."""

import json

import numpy as np
import pytest
from msgspec import structs
from test_tabular import SMALL

from ltbench import LTBenchError
from ltbench.api import run
from ltbench.boards.reading import read as board_of
from ltbench.registry.registry import Registry, installed
from ltbench.results import records, verifications
from ltbench.results.records import arrays_of, place_of, write
from ltbench.running.repeating import verify

MINE = """
from ltbench import Method, hookimpl
class Mine(Method):
    name = "mine"
    def scores(self, scores, run):
        return scores * FACTOR
@hookimpl
def register_methods(register):
    register(Mine)
"""


@pytest.fixture
def made(tiny, tmp_path):
    results = tmp_path / "leaderboards"
    return results, run(tiny, ["erm", "ldam"], 2, results=results, jobs=1)


def remade(results, record, **changed):
    """A record that tells something else, sealed as if nothing had happened."""
    return write(results, structs.replace(record, **changed), arrays_of(results, record))


def test_the_same_code_on_the_same_machine_gives_the_same_bits(tiny, made):
    results, every = made
    before = {path: path.read_bytes() for path in results.rglob("records/*/*")}
    found = list(verify(installed(), tiny, results=results))
    assert len(found) == 4
    assert {(one.outcome, one.what, one.other, tuple(one.unlike)) for one in found} == {
        ("same", "", 0, ())
    }
    assert {one.rows for one in found} == {len(arrays_of(results, every[0])["labels"])}
    assert {path: path.read_bytes() for path in results.rglob("records/*/*")} == before
    board = board_of(installed(), tiny, results).board
    assert [(one.recipe, one.by, one.same, one.cells) for one in board.content.verified] == [
        ("erm", "another", 2, 2),
        ("ldam", "another", 2, 2),
    ]
    text = board.markdown()
    assert "- ldam: reproduced by another on 2 of 2 cells (2 with the same bits)." in text
    assert "- The other rows are self-reported." in text
    assert "‡" not in text


def test_a_sample_takes_first_what_this_hand_has_not_run_again(tiny, made):
    results, _ = made
    drawn = [list(verify(installed(), tiny, sample=1, results=results))[0] for _ in range(4)]
    assert len({(one.recipe, one.seed) for one in drawn}) == 4
    (other,) = verify(installed(), tiny, ["erm"], [0], sample=1, by="ci", results=results)
    assert (other.recipe, other.seed) == ("erm", 0)


def test_arrays_that_were_kept_in_another_form_are_not_held_against_each_other(tiny, made):
    results, (record, *_) = made
    older = arrays_of(results, record)
    older |= {"confidence": older["confidence"] / np.float32(65535)}
    write(results, record, older)
    (one,) = verify(installed(), tiny, ["erm"], [0], results=results)
    assert (one.outcome, one.what) == ("same", "")
    moved = {**older, "confidence": older["confidence"] / 2}
    write(results, record, {**moved, "labels": 1 - moved["labels"]})
    (one,) = verify(installed(), tiny, ["erm"], [0], results=results)
    assert (one.outcome, one.what) == ("close", "labels")


def test_what_is_different_is_named_and_marked(tiny, made):
    results, (record, *_) = made
    remade(results, record, measures=record.measures | {"balanced_accuracy": 0.01})
    (one,) = verify(installed(), tiny, ["erm"], [0], results=results, by="ci")
    assert one.outcome == "different"
    again = record.measures["balanced_accuracy"]
    assert one.what == f"balanced_accuracy 0.01, again {again:.6g}"


def test_a_changed_method_gives_something_else(tiny, tmp_path):
    results, path = tmp_path / "leaderboards", tmp_path / "mine.py"
    path.write_text(MINE.replace("FACTOR", "1"))
    run(tiny, ["mine"], 2, results=results, jobs=1, plugins=[path])
    path.write_text(MINE.replace("FACTOR", "-1"))
    (first, second) = verify(Registry([path]), tiny, ["mine"], results=results)
    assert (first.outcome, second.outcome) == ("different", "different")
    assert first.unlike == ["the methods' code"]
    text = board_of(Registry([path]), tiny, results).board.markdown()
    assert "| `mine` ‡" in text
    assert "mine: reproduced by another on 0 of 2 cells; NOT REPRODUCED on 2: seed 0 (" in text
    assert "‡ running it again gave something else" in " ".join(text.split())


def test_on_another_machine_little_may_differ(tiny, made):
    results, (record, other, *_) = made
    spread = abs(record.measures["macro_auc"] - other.measures["macro_auc"]) / 2**0.5
    assert spread > 0
    environment = record.environment | {"cpu": "another", "instructions": "other"}
    near = record.measures | {"macro_auc": record.measures["macro_auc"] - spread / 2}
    remade(results, record, measures=near, environment=environment)
    (one,) = verify(installed(), tiny, ["erm"], [0], results=results)
    assert one.outcome == "close"
    assert one.what.startswith("macro_auc ")
    assert one.unlike == ["processor", "processor's name"]


def test_a_verification_of_a_record_that_changed_since_does_not_count(tiny, made):
    results, (record, *_) = made
    list(verify(installed(), tiny, ["erm"], [0], results=results))
    remade(results, record, notes=["made anew"])
    content = board_of(installed(), tiny, results).board.content
    assert content.verified == []
    assert content.remarks == ["1 verification is of records that changed since, and do not count"]


def test_two_that_disagree_are_both_shown(tiny, made):
    results, _ = made
    for by in ("ci", "another"):
        list(verify(installed(), tiny, ["erm"], [0], results=results, by=by))
    (path,) = results.rglob("seed-0.another.json")
    found = json.loads(path.read_text())
    one = verifications.Verification(**found | {"outcome": "different", "what": "accuracy 1"})
    verifications.write(results, one)
    text = board_of(installed(), tiny, results).board.markdown()
    assert "- erm: reproduced by CI on 1 of 2 cells (1 with the same bits)." in text
    assert "- erm: reproduced by another on 0 of 2 cells; NOT REPRODUCED on 1: seed 0" in text


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda text: text[:40], "it is no verification"),
        (lambda text: text.replace("same", "close"), "its digest does not fit"),
        (lambda text: "[]", "it is no verification"),
        (lambda text: "\\x00", "it is no verification"),
    ],
)
def test_a_damaged_verification_is_told_and_does_not_count(tiny, made, damage, told):
    results, _ = made
    list(verify(installed(), tiny, ["erm"], [0], results=results))
    (path,) = results.rglob("seed-0.another.json")
    path.write_text(damage(path.read_text()))
    content = board_of(installed(), tiny, results).board.content
    assert content.verified == []
    (remark,) = content.remarks
    assert told in remark


def test_cells_of_tables_are_verified_too(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    run(path, ["smote"], 1, results=tmp_path, jobs=1)
    found = list(verify(installed(), path, ["smote"], results=tmp_path))
    assert {(one.table, one.outcome) for one in found} == {
        ("breast-cancer", "same"),
        ("wine", "same"),
    }
    text = board_of(installed(), path, tmp_path).board.markdown()
    assert "- smote: reproduced by another on 2 of 2 cells (2 with the same bits)." in text


def test_the_command_tells_each_cell_and_ends_by_what_it_found(tiny, made, ltbench):
    results, (record, *_) = made
    told = ltbench("verify", tiny, "--all", "--jobs", 1)
    assert told.exit_code == 0, told.stderr
    assert "ldam seed 1: the same bits" in told.stdout
    assert told.stdout.endswith("4 same\n")
    remade(results, record, measures=record.measures | {"accuracy": 0.01})
    told = ltbench("verify", tiny, "-m", "erm", "--seeds", 1, "--sample", 9, "--json")
    assert told.exit_code == 1
    (one,) = json.loads(told.stdout)
    assert (one["recipe"], one["seed"], one["outcome"]) == ("erm", 0, "different")
    assert records.read(place_of(results, record)).measures["accuracy"] == 0.01


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--all", "--sample", "3"], "--all and --sample ask for different cells"),
        (["--sample", "0"], "--sample 0: expected a whole number from 1 on"),
        (["--sample", "x"], "--sample 'x': expected a whole number from 1 on"),
        (["--by", "A B"], "--by 'A B': expected lower-case letters"),
        (["-m", "nobody"], "unknown method 'nobody'"),
        (["-m", "focal"], "holds no finished records of these"),
        (["--seeds", "77-78"], "holds no finished records of these"),
    ],
)
def test_what_cannot_be_verified_is_refused_in_a_line(tiny, made, ltbench, words, told):
    found = ltbench("verify", tiny, *words)
    assert found.exit_code == 2
    assert told in found.stderr


def test_nothing_is_verified_where_there_are_no_records(tiny, tmp_path):
    with pytest.raises(LTBenchError, match="holds no records"):
        list(verify(installed(), tiny, results=tmp_path))
