import numpy as np
import pandas as pd
import pytest

from ltbench import LTBenchError
from ltbench.tracks.tabular.features import cleaned, constant, worded

ROWS = 40
NOISE = np.random.default_rng(0).normal(size=ROWS)


def clean(separator=",", decimal="", **columns):
    frame = pd.DataFrame({"noise": NOISE, **columns})
    features, notes = cleaned(frame, separator, decimal)
    return features, [note for note in notes if "noise" not in note]


@pytest.mark.parametrize(
    ("column", "why"),
    [
        ([None] * ROWS, "empty"),
        (["a"] * ROWS, "constant"),
        ([0.1 + 0.2, 0.3] * (ROWS // 2), "constant but for rounding"),
        ([1e9, 1e9 + 1e-7] * (ROWS // 2), "constant but for rounding"),
        ([f"patient {k}" for k in range(ROWS)], "different in every row"),
        (NOISE, "repeated"),
    ],
)
def test_a_column_that_tells_nothing_is_left_out_and_told(column, why):
    features, notes = clean(it=column)
    assert list(features) == ["noise"]
    assert notes == [f"columns left out as {why}: it"]


@pytest.mark.parametrize("start", [0, 1])
def test_the_names_of_rows_are_left_out_where_files_write_them(start):
    numbers = np.arange(start, start + ROWS)
    frame = pd.DataFrame({"Unnamed: 0": numbers, "x": NOISE})
    assert cleaned(frame, ",", "")[1] == ("columns left out as the numbers of rows: Unnamed: 0",)
    later = pd.DataFrame({"x": NOISE, "index": numbers})  # not where files write them
    assert list(cleaned(later, ",", "")[0]) == ["x", "index"]


@pytest.mark.parametrize(
    ("title", "numbers", "told"),
    [
        ("id", np.arange(ROWS)[::-1] * 7, True),
        ("CustomerID", np.arange(ROWS) ** 2, True),
        ("anything", np.roll(np.arange(5, ROWS + 5), 9), True),
        ("grid", np.arange(ROWS) ** 2, False),
        ("id", np.arange(ROWS) // 2, False),
        ("id", NOISE, False),
    ],
)
def test_identifiers_are_told(title, numbers, told):
    frame = pd.DataFrame({title: numbers, "group": ["a", "b"] * (ROWS // 2)})
    features, notes = cleaned(frame, ",", "")
    assert title in features
    why = "columns that seem to number the rows; drop in the protocol leaves columns out"
    assert (notes == (f"{why}: {title}",)) == told


def test_columns_of_many_words_are_told():
    frame = pd.DataFrame({"when": [f"day {k % 101}" for k in range(300)], "x": np.arange(300) % 7})
    told = cleaned(frame, ",", "")[1]
    assert told == ("columns of more than 100 words, each of which becomes a column: when (101)",)


def test_words_that_look_alike_are_told():
    pairs = {"case": ["Red", "red"], "gap": ["NA", "EU"], "number": ["x1", "1"]}
    _, notes = clean(**{name: pair * (ROWS // 2) for name, pair in pairs.items()})
    assert notes == [
        "columns with words that differ in case alone: case (Red, red)",
        "columns with words that may stand for missing values, if missing says so: gap (NA)",
    ]
    codes = ["01", "1", "x", "x"] * (ROWS // 4)
    assert clean(code=codes)[1] == ["columns with words that are one number: code (01, 1)"]


def test_enormous_and_tiny_numbers_are_measured_by_the_largest():
    for scale in (1e300, 1e-300):
        features, notes = clean(it=np.arange(ROWS) * scale)
        np.testing.assert_allclose(features["it"], np.arange(ROWS) / (ROWS - 1))
        assert notes[0].endswith("in units of their largest number, as squares overflow: it")
    features, _ = clean(it=[1.7e308, -1.7e308] * (ROWS // 2))
    assert features["it"].abs().max() == 1


def test_whole_numbers_that_floats_do_not_tell_apart_are_words():
    features, notes = clean(it=[2**53 + k % 2 + 1 for k in range(ROWS)])
    assert features["it"].nunique() == 2
    assert notes == ["columns of numbers kept as words for numbers of more than 15 digits: it"]


def test_categories_come_in_one_order_whatever_order_they_had():
    words = ["b", "a"] * (ROWS // 2)
    plain, _ = clean(it=words)
    other, _ = clean(it=pd.Categorical(words, categories=["z", "b", "a"]))
    assert plain["it"].cat.codes.tolist() == other["it"].cat.codes.tolist()


def test_columns_help_each_other_to_be_understood():
    german = {"a": ["1.234", "2.345"] * (ROWS // 2), "b": ["1,50 €", "2,75 €"] * (ROWS // 2)}
    assert clean(**german)[0]["a"].iloc[0] == 1234
    assert clean(decimal=".", a=german["a"])[0]["a"].iloc[0] == 1.234
    with pytest.raises(LTBenchError, match="column 'a' holds '1.234', where a comma or point may"):
        clean(separator=";", a=german["a"])


def test_columns_are_categories_where_the_protocol_says_so():
    frame = pd.DataFrame({"grade": [1.0, 2.0] * 20, "when": ["01/02/2020", "03/04/2020"] * 20})
    features, _ = cleaned(frame, ",", "", categories=("grade", "when"))
    assert list(features["grade"].cat.categories) == ["1", "2"]
    assert list(features["when"].cat.categories) == ["01/02/2020", "03/04/2020"]


def test_a_column_is_constant_where_rounding_alone_moves_it():
    numbers = np.array([[0.1 + 0.2, 1.0, 1e-20, np.nan], [0.3, 1.0 + 1e-6, 2e-20, np.nan]])
    assert constant(numbers).tolist() == [True, False, False, False]


def test_whole_numbers_are_worded_without_a_point():
    words = [worded(v) for v in (1.0, np.float32(2), 1.5, 3, True, " x ", "1.0")]
    assert words == ["1", "2", "1.5", "3", "True", "x", "1.0"]
