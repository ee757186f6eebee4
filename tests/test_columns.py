import datetime
import decimal

import numpy as np
import pandas as pd
import pytest

from ltbench import LTBenchError
from ltbench.datasets.columns import (
    Notes,
    as_one_number,
    numbers,
    of_words,
    scalars,
    tidied,
    understood,
)


def read(words, decimal="."):
    return understood("it", pd.Series(words), decimal)


@pytest.mark.parametrize(
    ("words", "values", "told"),
    [
        (["1.5", None, "2"], [1.5, np.nan, 2], "read as numbers"),
        (["1,234", "5", "6"], [1234, 5, 6], "read as numbers with thousands set apart"),
        (
            ["$5", "$1,000", "NA"],
            [5, 1000, np.nan],
            "read as numbers in $ with thousands set apart",
        ),
        (["5%", "7.5 %", "0"], [5, 7.5, 0], "read as numbers in %"),
        (["12 kg", "7 kg"], [12, 7], "read as numbers in kg"),
        (["1970-01-02", "1970-01-03"], [1, 2], "read as dates, in days since 1970"),
        (["1970-01-02 12:00", "NA"], [1.5, np.nan], "read as dates, in days since 1970"),
        (["1970-01-02T00:00:00Z"] * 2, [1, 1], "read as dates, in days since 1970"),
        (["13/01/1970", "01/01/1970"], [12, 0], "read as dates, in days since 1970"),
        (["01/13/1970", "01/01/1970"], [12, 0], "read as dates, in days since 1970"),
        (["2.1.1970", "1.2.1970"], [1, 31], "read as dates, in days since 1970"),
        (["2-Jan-1970", "1-Feb-1970"], [1, 31], "read as dates, in days since 1970"),
        (["1970-02", "1970-01"], [31, 0], "read as dates, in days since 1970"),
        (["1:30", "12:00:36"], [1.5, 12.01], "read as times, in hours"),
    ],
)
def test_words_that_say_numbers_are_numbers(words, values, told):
    column, how = read(words)
    np.testing.assert_allclose(column, values)
    assert column.dtype == np.float64
    assert how == told


def test_decimal_commas_are_told():
    column, how = read(["1,5", "2"], ",")
    assert column.tolist() == [1.5, 2]
    assert how == "read as numbers with decimal commas"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["red", "blue", "5"], ""),
        (["NA", "EU", "AS"], ""),
        (["01", "1", "other"], ""),
        (["01234", "98765"], "of numbers kept as words for their leading zeros"),
        (["1" * 18, "2" * 18], "of numbers kept as words for numbers of more than 15 digits"),
        (["1 adult", "2 adults"], "of amounts kept as words, as their units differ"),
        (["12 kg", "500 g"], "of amounts kept as words, as their units differ"),
        (["2008-09", "2011-12", "2012-13"], ""),
        (["1.2.3", "1.2.4"], ""),
        (["10.0.0.1", "10.0.0.2"], ""),
        (["123-45-6789", "987-65-4321"], ""),
        (["[0, 1]", "[1, 2]"], ""),
        (["4K", "8K"], ""),
        ([], ""),
    ],
)
def test_other_words_stay(words, told):
    column, how = read(pd.Series(words, dtype=object))
    assert column.tolist() == words
    assert how == told


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["1", "2", "3", "x"], "'x' in row 3 among numbers; mend it, or say missing = 'x' or"),
        (["$5", "€3"], "amounts in '$' and in '€'; bring them to one unit"),
        (["€600K", "€1M"], "amounts in '€K' and in '€M'"),
        (["5%", "0.05"], "amounts in '' and in '%'"),
        (
            ["03/04/2020", "05/06/2020"],
            "day and month cannot be told apart; write them as 2024-12-31",
        ),
        (["2020-01-01", "2020-01-02", "2020-01-03", "soon"], "'soon' in row 3 among dates"),
        (["2020-02-31", "2020-01-02", "2020-01-03", "2020-01-04"], "'2020-02-31' in row 0"),
        (["2020-01-13", "2020-01-14", "2020-01-15", "16/01/2020"], "'16/01/2020' in row 3"),
        ([f"[{k}, 2]" for k in range(30)], "holds lists, as [0, 2]; make columns of their parts"),
    ],
)
def test_what_cannot_be_meant_is_refused(words, text):
    with pytest.raises(LTBenchError) as refusal:
        read(words)
    assert text in str(refusal.value)
    assert "'it'" in str(refusal.value)


def test_a_point_or_comma_that_nobody_can_tell_is_refused():
    with pytest.raises(LTBenchError, match='decimals or of thousands; say decimal = "." or'):
        read(["1.234"], "")


def test_numbers_without_a_unit_are_told_by_how_they_are_written():
    assert numbers(pd.Series(["1", "2.5"]), ".")[1] == ""
    assert numbers(pd.Series(["1.000,5"]), ",")[1] == "with decimal commas and thousands set apart"
    assert numbers(pd.Series(["$1"]), ".") is None
    assert numbers(pd.Series(["01"]), ".") is None


def test_blanks_and_composed_letters_make_no_words():
    column, told = tidied(pd.Series(["yes", " yes", "Zo\u00eb", "Zoe\u0308", "  ", None]))
    assert column.dropna().tolist() == ["yes", "yes", "Zo\u00eb", "Zo\u00eb"]
    assert "differed in blanks" in told
    column, told = tidied(pd.Series([" yes", " no"]))
    assert column.tolist() == ["yes", "no"] and told == ""


def test_objects_are_what_they_say():
    first = datetime.date(1970, 1, 2)
    day = datetime.datetime(1970, 1, 2, 12)
    told = {
        "date": ([first, None], [1, np.nan], "read as dates, in days since 1970"),
        "datetime": ([day, None], [1.5, np.nan], "read as dates, in days since 1970"),
        "time": ([datetime.time(1, 30), None], [1.5, np.nan], "read as times, in hours"),
        "span": (
            [datetime.timedelta(hours=12), None],
            [0.5, np.nan],
            "read as spans of time, in days",
        ),
        "decimal": ([decimal.Decimal("1.5"), None], [1.5, np.nan], ""),
    }
    for name, (values, expected, how) in told.items():
        column, said = scalars(name, pd.Series(values, dtype=object))
        np.testing.assert_allclose(column.to_numpy(np.float64), expected)
        assert said == how
    berlin = pd.date_range("1970-01-02", periods=2, tz="Europe/Berlin")
    assert scalars("tz", pd.Series(berlin))[0].tolist() == pytest.approx([1 - 1 / 24, 2 - 1 / 24])
    months = pd.Series(pd.period_range("1970-01", periods=2, freq="M"))
    assert scalars("months", months)[0].tolist() == [0, 31]
    assert scalars("bytes", pd.Series([b"a", None]))[0].tolist()[0] == "a"
    sparse = pd.Series(pd.arrays.SparseArray([0.0, 1.0]))
    assert scalars("sparse", sparse)[0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1, 2], "holds [1, 2] in row 1, which is neither a number nor a word"),
        ({"a": 1}, "holds {'a': 1} in row 1"),
        (1j, "holds 1j in row 1"),
        (b"\xff", "holds bytes that are no text"),
    ],
)
def test_objects_that_are_no_values_are_refused(value, text):
    with pytest.raises(LTBenchError) as refusal:
        scalars("it", pd.Series([None, value], dtype=object))
    assert text in str(refusal.value)
    assert "drop = ['it']" in str(refusal.value)


def test_dates_as_one_number_are_days():
    assert as_one_number(np.array([19700102.0, np.nan, 19700201])).tolist()[::2] == [1, 31]
    for other in ([19700102, 19701301], [19700102, 19700102.5], [1.0, 2], [np.nan]):
        assert as_one_number(np.array(other, dtype=float)) is None


def test_categories_stay_what_they_are():
    assert of_words(pd.Series(["1", None]))
    assert not of_words(pd.Series(["1", "2"], dtype="category"))
    assert not of_words(pd.Series([True, None], dtype=object))


def test_a_reason_is_told_once_with_all_its_columns():
    notes = Notes()
    for reason, title in (("left out", "a"), ("", "b"), ("kept", "c"), ("left out", "d")):
        notes.add(reason, title)
    assert notes.lines() == ("columns left out: a, d", "columns kept: c")
