"""Words that say numbers: plain, with thousands set apart, decimal commas, or a unit."""

import re
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import NamedTuple

MISSING = frozenset(
    (
        *("#N/A", "#N/A N/A", "#NA", "<NA>", "N/A", "n/a", "NA", "NULL", "null", "None"),
        *("NaN", "nan", "-NaN", "-nan", "1.#IND", "1.#QNAN", "-1.#IND", "-1.#QNAN"),
    )
)
"""What stands for a missing value among numbers and dates, as in pandas; elsewhere it is a word."""

MOST_DIGITS = 15  # of a whole number that float64 surely keeps; one of more is an identifier
FEW = 0.5  # of a column; where fewer words than this are no numbers, they are faults

SIGN = r"[+\-\u2212]"
CURRENCY = (
    r"(?:[A-Z]{0,2}[$€£¥₹₽₩₺₴₪]|USD|EUR|GBP|CHF|JPY|CNY|INR|AUD|CAD|SEK|NOK|DKK|PLN|CZK|BRL"
    r"|Rs\.?|kr\.?|zł)"
)
APART = {".": r"[,'\u2019 \u00a0\u2009\u202f]", ",": r"[.'\u2019 \u00a0\u2009\u202f]"}
"""What may set thousands apart, by what stands before decimals."""

CODE = re.compile(rf"{SIGN}?0\d+")
LONG = re.compile(rf"{SIGN}?[1-9]\d{{{MOST_DIGITS},}}")

PLAIN = re.compile(r"(?>(?:[+-]?(?:(?:0|[1-9]\d{0,14})(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)?\x1f)*+")
EITHER = re.compile(r"(?>(?:[+-]?(?:[1-9]\d{0,2}(?:\.\d{3})+|\d+))?\x1f)*+")
"""Many words at once: numbers as programs write them, and those whose points may set thousands
apart; empty ones are missing."""
INFINITE = re.compile(rf"{SIGN}?inf(?:inity)?", re.IGNORECASE)


class Amount(NamedTuple):
    """What a word says: a number, whether its thousands are set apart, and of what unit."""

    value: float
    apart: bool = False
    unit: str = ""


def plain_numbers(words: Sequence[str]) -> tuple[list[float], list[str]] | None:
    """Words as numbers if all are plain, with points before decimals beyond doubt, or else None;
    and a word that tells it, if any has decimals.

    It is what most columns are, and much faster than a look at each word.
    """
    told = "\x1f".join((*words, ""))
    if told.count("\x1f") != len(words) or not PLAIN.fullmatch(told):
        return None
    clear = next(
        (word for word in words if "." in word and not EITHER.fullmatch(f"{word}\x1f")), ""
    )
    if not clear and "." in told:
        return None
    return [float(word or "nan") for word in words], [clear] if clear else []


@cache
def _plain(decimal: str) -> re.Pattern[str]:
    """A number without thousands set apart or a unit."""
    point = re.escape(decimal)
    return re.compile(rf"{SIGN}?(?:\d+(?:{point}\d*)?|{point}\d+)(?:[eE]{SIGN}?\d+)?")


@cache
def _dressed(decimal: str) -> re.Pattern[str]:
    """A number with thousands set apart, a unit, or the signs of book-keeping."""
    point, apart = re.escape(decimal), APART[decimal]
    return re.compile(
        rf"(?P<open>\()?(?P<before>{SIGN})?\s*(?P<left>{CURRENCY})?\s*(?P<after>{SIGN})?"
        rf"(?P<number>[1-9]\d{{0,2}}(?P<mark>{apart})\d{{3}}(?:(?P=mark)\d{{3}})*(?:{point}\d+)?"
        rf"|[1-9]\d?(?:(?P<indian>{apart})\d\d)(?:(?P=indian)\d\d)*(?P=indian)\d{{3}}(?:{point}\d+)?"
        rf"|\d+(?:{point}\d*)?|{point}\d+)"
        rf"(?:\s*(?P<right>%|‰|{CURRENCY})|(?P<scale>[kKmMbB]n?)"
        rf"|\s+(?P<unit>[^\W\d_][^\s\d]{{0,11}}))?(?P<close>\))?"
    )


def amount(word: str, decimal: str) -> Amount | None:
    """What a word says if `decimal` stands before decimals; None if it says no number."""
    if _plain(decimal).fullmatch(word):
        return Amount(_float(word, decimal))
    found = _dressed(decimal).fullmatch(word)
    if found is None:
        return None
    part = found.groupdict("")
    signs = part["before"] + part["after"] + part["open"]
    if len(signs) > 1 or len(part["open"] + part["close"]) == 1:
        return None
    if part["scale"] and not part["left"]:  # 4K is a word, $4K is not
        return None
    mark = part["mark"] or part["indian"]
    value = _float(part["number"].replace(mark, "") if mark else part["number"], decimal)
    unit = "".join(part[name] for name in ("left", "right", "scale", "unit"))
    return Amount(value if signs in ("", "+") else -value, bool(mark), unit)


def _float(word: str, decimal: str) -> float:
    return float(word.replace(decimal, ".").replace("\u2212", "-"))


def exact(word: str) -> Decimal | None:
    """The number that a word is, without a unit or thousands set apart, to the last digit."""
    return Decimal(word.replace("\u2212", "-")) if _plain(".").fullmatch(word) else None


def losing_digits(words: Collection[str]) -> str:
    """Why numbers are to stay words, if they would lose digits that tell them apart."""
    if any(map(CODE.fullmatch, words)):
        return "for their leading zeros"
    if any(map(LONG.fullmatch, words)):
        return f"for numbers of more than {MOST_DIGITS} digits"
    return ""


def amounts(words: Collection[str], decimal: str) -> dict[str, Amount] | None:
    """What each word says as a number; None if one says none, or no word does.

    What stands for a missing value is NaN.
    """
    found = {}
    for word in words:
        said = amount(word, decimal)
        if said is None and word in MISSING:
            said = Amount(float("nan"))
        elif said is None and INFINITE.fullmatch(word):
            said = Amount(_float(word, decimal))
        if said is None:
            return None
        found[word] = said
    return found if not MISSING.issuperset(words) else None


def decimals(
    columns: Mapping[str, Collection[str]], separator: str, usual: str = ""
) -> tuple[dict[str, str], str]:
    """What stands before decimals in each column of words, and what is usual where they agree.

    It is "." or ",", and "" if nobody can tell. A column that can be read with either, as 1.234 or
    1,234 alone, follows the usual. Without that, commas are of thousands where they separate
    columns as well, and of decimals where semicolons do.
    """
    found = {title: _decimal(words, separator) for title, words in columns.items()}
    usual = usual or "".join(sorted(set(found.values()) & {".", ","}))
    convention = {",": {"commas": ".", "points": "."}, ";": {"commas": ",", "points": ""}}
    told = {**convention.get(separator, {}), "none": "."} if not usual else {}
    one = usual if len(usual) == 1 else ""
    default = {"commas": one, "points": one, "none": one or ".", **told}
    return {title: default.get(decimal, decimal) for title, decimal in found.items()}, usual


def _decimal(words: Collection[str], separator: str) -> str:
    """What the words of a column tell: "." or ",", or that they have "points" or "commas" that can
    be either, or "none"."""
    marked = [word for word in words if ("," in word or "." in word) and word not in MISSING]
    fits = [
        decimal
        for decimal in ".,"
        if marked and all(word in MISSING or amount(word, decimal) for word in words)
    ]
    if fits == [","] and separator == "," and len(marked) < FEW * len(words):
        return "none"  # rather faults among numbers than decimals that are meant
    if len(fits) == 2:
        return "commas" if "," in marked[0] else "points"
    return fits[0] if fits else "none"
