import math

import pytest

from ltbench.datasets.amounts import amount, amounts, decimals, exact, losing_digits, plain_numbers


@pytest.mark.parametrize(
    ("word", "decimal", "value", "apart", "unit"),
    [
        ("12", ".", 12, False, ""),
        ("-1.5e3", ".", -1500, False, ""),
        (".5", ".", 0.5, False, ""),
        ("\u22127", ".", -7, False, ""),
        ("1,234", ".", 1234, True, ""),
        ("1,234", ",", 1.234, False, ""),
        ("1.234", ",", 1234, True, ""),
        ("1.234.567,8", ",", 1234567.8, True, ""),
        ("1'234.5", ".", 1234.5, True, ""),
        ("1\u202f234,5", ",", 1234.5, True, ""),
        ("12,34,567", ".", 1234567, True, ""),
        ("$1,200.50", ".", 1200.5, True, "$"),
        ("-$5", ".", -5, False, "$"),
        ("(3.50)", ".", -3.5, False, ""),
        ("3,50 €", ",", 3.5, False, "€"),
        ("€110.5M", ".", 110.5, False, "€M"),
        ("USD 7", ".", 7, False, "USD"),
        ("45%", ".", 45, False, "%"),
        ("12 kg", ".", 12, False, "kg"),
    ],
)
def test_a_word_says_an_amount(word, decimal, value, apart, unit):
    assert amount(word, decimal) == (value, apart, unit)


@pytest.mark.parametrize(
    "word",
    [
        "",
        "x",
        "1,23",
        "12,3456",
        "0,123",
        "1.2.3",
        "(5",
        "--5",
        "4K",
        "7th",
        "1_000",
        "0x1F",
        "A 5",
    ],
)
def test_other_words_say_none(word):
    assert amount(word, ".") is None


def test_what_stands_for_a_missing_value_is_nan_beside_numbers_alone():
    found = amounts(["1", "NA", "n/a"], ".")
    assert (
        found["1"].value == 1 and math.isnan(found["NA"].value) and math.isnan(found["n/a"].value)
    )
    assert amounts(["NA", "None"], ".") is None
    assert amounts(["1", "missing"], ".") is None
    assert amounts(["1", "-inf"], ".")["-inf"].value == -math.inf


def test_codes_and_long_numbers_would_lose_digits():
    assert losing_digits(["12", "007"]) == "for their leading zeros"
    assert losing_digits(["1" * 16]) == "for numbers of more than 15 digits"
    assert losing_digits(["0", "0.5", "1" * 15, "0.1234567890123456789"]) == ""


@pytest.mark.parametrize(
    ("columns", "separator", "usual", "expected"),
    [
        # a column that tells by itself
        ({"a": ["1,5", "2"]}, ";", "", {"a": ","}),
        ({"a": ["1.5", "2"]}, ";", "", {"a": "."}),
        ({"a": ["1.234.567"]}, ",", "", {"a": ","}),
        ({"a": ["1,234.5"]}, ";", "", {"a": "."}),
        # one that can be read with either follows the others
        ({"a": ["1.234"], "b": ["0,5"]}, ";", "", {"a": ",", "b": ","}),
        ({"a": ["1,234"], "b": ["0.5"]}, ";", "", {"a": ".", "b": "."}),
        ({"a": ["1.234"], "b": ["0,5"], "c": ["0.5"]}, ";", "", {"a": "", "b": ",", "c": "."}),
        ({"a": ["1.234"], "b": ["0,5"]}, ";", ".", {"a": ".", "b": ","}),
        # without others, the separator tells, or nothing
        ({"a": ["1,234"]}, ",", "", {"a": "."}),
        ({"a": ["1.234"]}, ",", "", {"a": "."}),
        ({"a": ["1,234"]}, ";", "", {"a": ","}),
        ({"a": ["1.234"]}, ";", "", {"a": ""}),
        ({"a": ["1,234"]}, "\t", "", {"a": ""}),
        # a comma among numbers is rather a fault where commas separate columns
        ({"a": ["1", "2", "4,5"]}, ",", "", {"a": "."}),
        ({"a": ["1", "2", "4,5"]}, ";", "", {"a": ","}),
        ({"a": ["1", "2", "4,5"]}, ",", ",", {"a": ","}),
        ({"a": ["red", "1,5"]}, ";", "", {"a": "."}),
    ],
)
def test_what_stands_before_decimals(columns, separator, usual, expected):
    assert decimals(columns, separator, usual)[0] == expected


def test_plain_numbers_are_read_at_once_and_to_the_bit():
    words = ["0.1", "-3", "1e-300", "", "0.30000000000000004"]
    values, telling = plain_numbers(words)
    assert values[:3] == [0.1, -3, 1e-300] and math.isnan(values[3]) and values[4] == 0.1 + 0.2
    assert telling == ["0.1"]
    assert plain_numbers(["1", "2"]) == ([1.0, 2.0], [])


@pytest.mark.parametrize(
    "words",
    [
        ["1", "x"],
        ["007"],
        ["1" * 16],
        ["1,5"],
        ["NA"],
        ["inf"],
        ["1.234"],
        ["5", "1.234"],
        ["1\x1f2"],
    ],
)
def test_what_is_not_plain_beyond_doubt_is_left_to_a_closer_look(words):
    assert plain_numbers(words) is None


def test_numbers_are_told_apart_to_the_last_digit():
    assert exact("9007199254740993") != exact("9007199254740992")
    assert exact("01") == exact("1.0") == 1
    assert exact("1,000") is None and exact("nan") is None
