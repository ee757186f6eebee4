"""What a protocol declares of its data is held against them, and breaches name their rows."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TINY

from ltbench import LTBenchError, protocol
from ltbench.contract.context import Rows
from ltbench.datasets import Dataset
from ltbench.protocols.schema import Holds
from ltbench.tracks.holding import broken, refuse_broken
from ltbench.tracks.tabular import holding as of_tables
from ltbench.tracks.tabular.problem import TableHolds

TABLE = """
name = "held"
version = 1
track = "tabular"
description = "A table of which something is declared, for tests."
recipes = ["erm"]
seeds = 1

[tables.wine]
source = "scikit-learn/wine"
fingerprint = "any"

[[tables.wine.holds]]
HOLDS

[learners]
tree = {}

[compute]
threads = 1
"""


def images():
    inputs = torch.arange(24.0).reshape(6, 1, 2, 2) / 24
    inputs[4] = inputs[1]  # a row that stands there twice, in two classes
    test = torch.stack([inputs[0], torch.full((1, 2, 2), 0.5), inputs[3]])
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    return Dataset(Rows(inputs, labels), ("cat", "dog"), Rows(test, torch.tensor([0, 1, 1])))


def table():
    frame = pd.DataFrame(
        {
            "begin": [1.0, 2.0, 3.0, np.nan],
            "end": [2.0, 2.0, 1.0, 0.0],
            "smoker": pd.Categorical(["no", "yes", "no", None]),
            "packs": [0.0, 3.0, 2.0, 1.0],
        }
    )
    return frame, np.array([0, 1, 0, 1]), ("a", "b")


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"classes": ("cat", "dog"), "rows": (3, 3), "values": (0, 1)}, []),
        ({"classes": ("dog", "cat")}, ["its classes are cat, dog, not dog, cat"]),
        ({"rows": (1, 2)}, ["class cat has 3, class dog has 3 rows, not 1 to 2"]),
        ({"rows": (4, 9), "of": ("dog",)}, ["class dog has 3 rows, not 4 to 9"]),
        ({"rows": (1, 9), "of": ("cow",)}, ["it has no class cow"]),
        (
            {"values": (0, 0.6)},
            ["2 training rows hold values beyond 0 to 0.6 (training row 3, training row 5)"],
        ),
        ({"unique": True}, ["1 rows stand there once more (training rows 1 and 4)"]),
        ({"consistent": True}, ["1 inputs are of several classes (training rows 1 and 4)"]),
        (
            {"apart": True},
            [
                "2 test rows are training rows (test row 0 is training row 0, "
                "test row 2 is training row 3)"
            ],
        ),
    ],
)
def test_what_does_not_hold_of_images_is_told_with_its_rows(rule, told):
    found = [*broken(images(), [Holds(**rule)])]
    if "values" in rule and told:  # the test split has such a row too
        assert found.pop() == "1 test rows hold values beyond 0 to 0.6 (test row 2)"
    assert found == told


def test_a_value_that_is_no_number_is_beyond_any_range():
    held = images()
    held.train.inputs[2, 0, 0, 0] = torch.nan
    (told,) = broken(held, [Holds(values=(-1e9, 1e9))])
    assert "training row 2" in told


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"rising": ("begin", "end")}, ["1 rows have begin above end (rows 2)"]),
        ({"values": (0, 2), "column": "packs"}, ["1 rows have packs beyond 0 to 2 (rows 1)"]),
        (
            {"where": {"smoker": ("no",)}, "then": {"packs": ("0",)}},
            ["1 rows have smoker no without packs 0 (rows 2)"],
        ),
        ({"unique": True, "consistent": True}, []),
    ],
)
def test_what_does_not_hold_of_a_table_is_told_with_its_rows(rule, told):
    assert [*of_tables.broken(*table(), [TableHolds(**rule)])] == told


def test_equal_rows_of_a_table_are_found_though_values_are_missing():
    frame, _, classes = table()
    twice = frame.iloc[[0, 3, 3]].reset_index(drop=True), np.array([0, 1, 0]), classes
    found = [*of_tables.broken(*twice, [TableHolds(unique=True, consistent=True)])]
    assert found == [
        "1 rows stand there once more (rows 1 and 2)",
        "1 inputs are of several classes (rows 1 and 2)",
    ]


def test_columns_that_are_not_there_or_have_no_order_are_refused():
    for rule, told in (
        ({"rising": ("begin", "ends")}, "did you mean 'end'"),
        ({"rising": ("smoker", "end")}, "'smoker' is of words, which have no order"),
    ):
        with pytest.raises(LTBenchError, match=told):
            [*of_tables.broken(*table(), [TableHolds(**rule)])]


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("", "holds states nothing"),
        ("rows = [5, 2]", r"rows \[5, 2\] must not fall"),
        ('of = ["0"]', "rows is missing"),
        ("column = 3", "column"),
    ],
)
def test_a_declaration_that_says_nothing_is_refused(tiny, bad, told):
    tiny.write_text(TINY.replace("[imbalance]", f"[[data.holds]]\n{bad}\n\n[imbalance]"))
    with pytest.raises(LTBenchError, match=told):
        protocol(tiny)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("apart = true", "no table has; say unique"),
        ("values = [0, 1]", "values and column go together"),
        ('rising = ["ash"]', "rising needs two columns"),
        ('where = {ash = ["1"]}', "where goes with then"),
    ],
)
def test_a_declaration_that_no_table_can_meet_is_refused(tmp_path, bad, told):
    path = tmp_path / "held.toml"
    path.write_text(TABLE.replace("HOLDS", bad))
    with pytest.raises(LTBenchError, match=told):
        protocol(path)


def test_what_is_declared_of_data_decides_no_number(tiny, tmp_path):
    before = protocol(tiny).hash
    tiny.write_text(TINY.replace("[imbalance]", "[[data.holds]]\nunique = true\n\n[imbalance]"))
    assert protocol(tiny).hash == before
    path, held = tmp_path / "held.toml", "[[tables.wine.holds]]\nHOLDS\n"
    path.write_text(TABLE.replace(held, ""))
    without = protocol(path).hash
    path.write_text(TABLE.replace("HOLDS", "unique = true"))
    assert protocol(path).hash == without


def test_a_run_and_the_doctor_refuse_data_that_are_not_as_declared(ltbench, tiny):
    holds = "[[data.holds]]\nrows = [174, 183]\nvalues = [0, 1]\n"
    tiny.write_text(TINY.replace("[imbalance]", f"{holds}\n[imbalance]"))
    told = ltbench("doctor", tiny)
    assert (told.exit_code, "1 holds" in told.output) == (0, True)
    tiny.write_text(tiny.read_text().replace("values = [0, 1]", "values = [0, 0.9]"))
    told = ltbench("doctor", tiny)
    assert told.exit_code == 1 and "training row 0" in told.output
    told = ltbench("run", tiny, "-m", "erm", "--seeds", 1)
    assert told.exit_code == 2 and told.stderr.startswith("Error: data set digits is not as")


def test_a_table_that_is_not_as_declared_costs_its_own_cells(ltbench, tmp_path):
    path = tmp_path / "held.toml"
    path.write_text(TABLE.replace("HOLDS", "rows = [50, 80]"))
    told = ltbench("run", path)
    assert told.exit_code == 2
    assert "table wine: it is not as declared: class class_2 has 48 rows" in told.stderr


def test_nothing_is_refused_where_all_holds():
    refuse_broken("it", broken(images(), [Holds(rows=(1, 9))]))
