"""What the test rows add to an interval: worked by hand, by simulation, and where it cannot be."""

import numpy as np
import pytest
from msgspec import structs
from sample_board import records

from ltbench import protocol
from ltbench.boards.overviews import overview_of, told_rows
from ltbench.boards.reading import read
from ltbench.boards.row_errors import error_of
from ltbench.registry.registry import installed
from ltbench.results.records import write


def test_rows_that_all_seeds_agree_on_are_a_sample_like_any():
    """Two classes of four rows, one right in half of each: variance 1/3, error sqrt(2/4/3/4)."""
    gaps = np.tile([1.0, 0, 1, 0, 1, 0, 1, 0], (3, 1))
    labels = np.repeat([0, 1], 4)
    assert error_of(gaps, labels, balanced=True) == pytest.approx(np.sqrt(2 / 4 / 3 / 4))


def test_what_is_chance_of_training_alone_is_not_counted_twice():
    chance = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 200)
    told = [error_of(chance.normal(0, 1, (5, 2000)), labels, True) for _ in range(50)]
    assert np.median(told) < 0.35 / np.sqrt(2000)  # were it counted: 0.45


def test_it_is_the_spread_over_other_test_splits():
    chance = np.random.default_rng(1)
    labels = np.repeat(np.arange(5), 100)
    splits = [chance.normal(0, 0.5, 500) + chance.normal(0, 0.3, (5, 500)) for _ in range(400)]
    told = np.mean([error_of(gaps, labels, balanced=True) for gaps in splits])
    assert told == pytest.approx(0.5 / np.sqrt(500), rel=0.03)


def kept(path, results, shared=True, seeds=3):
    """Records with predictions, of a protocol whose source has a test split, or has none."""
    if shared:
        path.write_text(path.read_text().replace("test_per_class = 20\n", ""))
    given = protocol(path)
    chance = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 20).astype(np.uint8)
    hard = chance.random(200)
    for record in records(given, seeds=seeds):
        right = hard < record.measures["balanced_accuracy"]
        predicted = np.where(right, labels, (labels + 1) % 10).astype(np.uint8)
        arrays = {"labels": labels, "predicted": predicted}
        reached = float(right.mean())
        told = {"balanced_accuracy": reached, "accuracy": reached}
        recall = right.reshape(10, 20).mean(axis=1).tolist()
        write(results, structs.replace(record, measures=told, recall=recall), arrays)
    return given


def test_a_board_tells_it_where_predictions_are_kept_and_seeds_share_their_rows(tiny, tmp_path):
    given = kept(tiny, tmp_path)
    board, *_ = overview_of(installed(), given, tmp_path, rows=True)
    told = {one.recipe: one.rows_error for one in board.entries}
    assert told.pop("erm") is None and all(error > 0 for error in told.values())
    assert "same test rows" in board.of_rows and "times that over seeds" in board.of_rows
    content = told_rows(installed(), given, read(installed(), given, tmp_path), tmp_path)
    in_json = {row.recipe: row.delta_rows_error for row in content.rows}
    assert in_json["focal"] == pytest.approx(told["focal"], abs=1e-6)


def test_a_board_whose_seeds_have_rows_of_their_own_tells_nothing(tiny, tmp_path):
    board, *_ = overview_of(installed(), kept(tiny, tmp_path, shared=False), tmp_path, rows=True)
    assert board.of_rows == "" and {one.rows_error for one in board.entries} == {None}


def test_a_board_without_predictions_tells_nothing(tiny, tmp_path):
    given = protocol(tiny)
    for record in records(given):
        write(tmp_path, record, None)
    board, *_ = overview_of(installed(), given, tmp_path, rows=True)
    assert board.of_rows == ""
