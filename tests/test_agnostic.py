import json

import numpy as np
import pytest
from msgspec import structs
from sample_record import RECORD

from ltbench import LTBenchError, protocol
from ltbench.api import run
from ltbench.boards import markdown
from ltbench.boards.agnostic import SPLITS, evaluate, frame, splits
from ltbench.registry.registry import installed
from ltbench.results.reading import records_of
from ltbench.results.records import arrays_of, path_of, write

RECOGNITION = installed().track("recognition")
CIFAR100 = np.arange(10000) % 100


def test_the_eleven_published_splits_come_out():
    counts = [500 - c for c in range(100)]
    chosen = splits(CIFAR100, counts)
    assert list(chosen) == list(SPLITS)
    assert len(SPLITS) == 11
    uniform = np.bincount(CIFAR100[chosen["uniform"]])
    assert uniform.tolist() == [100] * 100
    forward = np.bincount(CIFAR100[chosen["forward-50"]])
    assert (forward[0], forward[-1]) == (100, 2)
    assert forward.tolist() == [int(100 * 0.02 ** (c / 99)) for c in range(100)]
    backward = np.bincount(CIFAR100[chosen["backward-50"]])
    assert backward.tolist() == forward[::-1].tolist()


def test_rows_are_those_that_seed_0_shuffles_to_the_front():
    chosen = splits(CIFAR100, [500 - c for c in range(100)])["forward-10"]
    random = np.random.RandomState(0)
    for c in range(3):
        rows = np.flatnonzero(c == CIFAR100)
        random.shuffle(rows)
        kept = [row for row in chosen if CIFAR100[row] == c]
        assert kept == rows[: len(kept)].tolist()


def test_the_order_of_classes_is_that_of_their_training_rows():
    labels = np.arange(300) % 3
    chosen = splits(labels, [5, 100, 20])
    assert np.bincount(labels[chosen["forward-50"]]).tolist() == [2, 100, 14]
    assert np.bincount(labels[chosen["backward-50"]]).tolist() == [100, 2, 14]


@pytest.fixture
def made(tiny, tmp_path):
    results = tmp_path / "results"
    tiny.write_text(tiny.read_text().replace("test_per_class = 20", "test_per_class = 60"))
    run(tiny, ["erm", "logit-adjustment"], 2, results=results)
    return protocol(tiny), results


def test_accuracy_on_the_uniform_split_is_that_of_the_record(made):
    problem, results = made
    table, rejected = evaluate(RECOGNITION, problem, results)
    assert rejected == []
    found, _ = records_of(problem, results)
    for row in table.rows:
        own = [record for record in found if record.recipe == row.recipe]
        expected = np.mean([record.measures["accuracy"] for record in own])
        assert row.accuracy["uniform"].mean == pytest.approx(expected, abs=1e-6)
        assert row.seeds == 2


def test_the_table_tells_every_split(made, tiny, ltbench):
    table, _ = evaluate(RECOGNITION, *made)
    text = markdown.agnostic(table)
    assert "F50" in text
    assert "B50" in text
    assert frame(table).columns.tolist() == ["recipe", *SPLITS, "seeds"]
    words = ["leaderboard", tiny, "--test-agnostic", "--format", "json", "--results", made[1]]
    told = json.loads(ltbench(*words).stdout)
    assert told["rows"][0]["accuracy"].keys() == set(SPLITS)


def test_a_row_that_lacks_a_seed_comes_last(made):
    problem, results = made
    best = evaluate(RECOGNITION, problem, results)[0].rows[0].recipe
    for record in records_of(problem, results)[0]:  # a third row, so that most have both seeds
        if record.recipe != best:
            write(results, structs.replace(record, recipe="other"), arrays_of(results, record))
    path_of(results, problem.name, best, 0).unlink()
    rows = evaluate(RECOGNITION, problem, results)[0].rows
    assert [(row.recipe == best, row.seeds) for row in rows] == [(False, 2), (False, 2), (True, 1)]


def test_too_few_test_rows_are_refused():
    with pytest.raises(LTBenchError, match="a class has 20 test rows; .* at least 50"):
        splits(np.arange(60) % 3, [9, 5, 1])


def test_missing_predictions_are_refused(made):
    problem, results = made
    next(results.rglob("*.npz")).unlink()
    with pytest.raises(LTBenchError, match="is missing or not the file"):
        evaluate(RECOGNITION, problem, results)


@pytest.mark.parametrize("kept", [None, ["predicted"]])
def test_records_without_a_label_a_row_are_refused(made, kept):
    problem, results = made
    for record in records_of(problem, results)[0]:
        arrays = {name: np.zeros(3) for name in kept} if kept else None
        write(results, structs.replace(record, arrays=""), arrays)
    with pytest.raises(LTBenchError, match="of the track recognition, which keeps no predictions"):
        evaluate(RECOGNITION, problem, results)


@pytest.mark.parametrize("form", ["now", "before"])
def test_of_several_networks_each_is_scored_on_the_published_rows(tmp_path, form):
    problem, distillation = protocol("distill-digits"), installed().track("distillation")
    labels, seed = np.arange(600) % 10, np.random.default_rng(0)
    predicted = np.where(seed.random((3, 600)) < 0.7, labels, (labels + 1) % 10)
    counts = [90 - 9 * c for c in range(10)]
    arrays = {"labels": labels, "predicted": predicted}
    if form == "before":
        arrays = {"labels": np.tile(labels, 3), "predicted": predicted.ravel()}
    told = {"protocol": problem.name, "hash": problem.hash, "track": "distillation"}
    record = structs.replace(RECORD, **told, class_counts=counts, details={"networks": 3})
    write(tmp_path, record, arrays)
    (row,) = evaluate(distillation, problem, tmp_path)[0].rows
    for name, rows in splits(labels, counts).items():
        expected = np.mean([(one[rows] == labels[rows]).mean() for one in predicted])
        assert row.accuracy[name].mean == pytest.approx(expected)
