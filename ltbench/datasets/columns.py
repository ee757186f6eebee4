"""The kind of a column: what are numbers, amounts, dates or times in it, and what stays words."""

import re
import unicodedata
from collections.abc import Collection, Iterator
from itertools import product
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ltbench.datasets.amounts import FEW, MISSING, Amount, amount, amounts, losing_digits
from ltbench.errors import LTBenchError

if TYPE_CHECKING:
    import pandas as pd

    Series: TypeAlias = pd.Series[Any]
    Read: TypeAlias = tuple[Series, str]  # a column, and how it was read if that is to be told

MANY_LISTS = 20  # different words in brackets; fewer may be the names of intervals
TRIED = 5  # words that look like dates, of which one has to be one
MIXED = 0.75  # of words that all look like dates; where fewer are of another form, they are faults
LIST = re.compile(r"\[.*\]|\{.*\}", re.DOTALL)
TIME = re.compile(r"(\d{1,3}):([0-5]\d)(?::([0-5]\d(?:\.\d+)?))?")
DATE = re.compile(
    r"\d{1,4}[-/. ](?:\d{1,2}|[A-Za-z]{3,9}\.?)[-/. ]\d{1,4}(?:[T ].*)?"
    r"|[A-Za-z]{3,9}\.? \d{1,2},? \d{4}(?: .*)?"
)
MONTH = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])")
DAYS = (
    *("%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y"),
    *("%d/%m/%y", "%m/%d/%y", "%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y"),
    *("%B %d, %Y", "%b %d %Y", "%B %d %Y"),
)
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
FIRST, LAST = 19000101, 21001231  # dates as one number; others are numbers after all
AS_DAYS, AS_HOURS = "read as dates, in days since 1970", "read as times, in hours"


class Notes:
    """What is told of columns: each reason once, with the columns that it holds for."""

    def __init__(self) -> None:
        self.reasons: dict[str, list[str]] = {}

    def add(self, reason: str, title: str) -> None:
        if reason:
            self.reasons.setdefault(reason, []).append(title)

    def lines(self) -> tuple[str, ...]:
        return tuple(f"columns {why}: {', '.join(of)}" for why, of in self.reasons.items())


def of_numbers(column: "Series") -> bool:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    return is_numeric_dtype(column) and not is_bool_dtype(column)


def tidy(word: str) -> str:
    """A word without blanks around it, composed as most write it."""
    return (word if word.isascii() else unicodedata.normalize("NFC", word)).strip()


def of_words(column: "Series") -> bool:
    """Whether a column is of text, whatever it means; categories are what they are."""
    from pandas.api.types import infer_dtype

    return bool(infer_dtype(column, skipna=True) == "string")


def tidied(column: "Series") -> "Read":
    """Words without blanks around them; one of blanks alone is missing."""
    words = column.dropna().unique()
    found = {word: tidy(word) or np.nan for word in words}
    if not any(word != found[word] for word in words):
        return column, ""
    there = [word for word in found.values() if isinstance(word, str)]
    merged = "with words that differed in blanks or in how letters are composed"
    return column.map(found), merged if len(set(there)) < len(there) else ""


def scalars(title: str, column: "Series") -> "Read":
    """A column whose values are numbers, words, truths or categories, whatever objects they were.

    Raises:
        LTBenchError: they are lists or the like, or bytes that are no text.
    """
    import pandas as pd

    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind == "bytes":
        return column.map(lambda value: _decoded(title, value), na_action="ignore"), ""
    if kind == "decimal" or column.dtype == object and kind in ("integer", "floating"):
        return column.astype(np.float64), ""
    if kind in ("date", "datetime", "datetime64"):
        try:
            return _days(pd.to_datetime(column, utc=True)), AS_DAYS
        except ValueError as error:  # a year that pandas cannot hold
            raise LTBenchError(f"column {title!r} holds a date out of reach: {error}") from None
    if kind == "period":
        return _days(column.dt.to_timestamp().dt.tz_localize("UTC")), AS_DAYS
    if kind in ("timedelta", "timedelta64"):
        return pd.to_timedelta(column) / pd.Timedelta(days=1), "read as spans of time, in days"
    if kind == "time":
        return column.map(str, na_action="ignore").map(_hours, na_action="ignore"), AS_HOURS
    if isinstance(column.dtype, pd.SparseDtype):
        return column.sparse.to_dense(), ""
    for row, value in enumerate(column if column.dtype == object else ()):
        if pd.api.types.is_list_like(value) or isinstance(value, complex):
            raise LTBenchError(
                f"column {title!r} holds {_short(value)} in row {row}, which is neither a number "
                f"nor a word; make columns of its parts, or say drop = [{title!r}] in the protocol"
            )
    return column, ""


def numbers(column: "Series", decimal: str) -> "Read | None":
    """Words as numbers, where all are such; "with ..." tells how they are written, if not plainly.

    None where one has a unit, or a number would lose digits that tell words apart. What stands for
    a missing value is missing.
    """
    words = column.dropna().unique()
    found = amounts(words, decimal)
    if found is None or any(one.unit for one in found.values()) or losing_digits(words):
        return None
    return _valued(column, found), _dress(found, decimal)


def as_one_number(numbers: NDArray[np.float64]) -> "Series | None":
    """Dates that are written as one whole number, as 20241231, in days since 1970; None if one of
    the numbers [N] is no such date. NaN is missing."""
    import pandas as pd

    there = numbers[~np.isnan(numbers)]
    if not len(there) or not ((there >= FIRST) & (there <= LAST) & (there % 1 == 0)).all():
        return None
    words = pd.Series(numbers).astype("Int64").astype("string")
    days = _days(pd.to_datetime(words, format="%Y%m%d", errors="coerce", utc=True))
    return days if days.notna().sum() == len(there) else None


def understood(title: str, column: "Series", decimal: str) -> "Read":
    """A column of words as numbers, where the words say such: amounts, dates or times.

    `decimal` is what stands before decimals, "" if nobody can tell.

    Raises:
        LTBenchError: a few words among numbers are none, amounts are of several units, or it
            cannot be told what words mean.
    """
    words = column.dropna().unique()
    if not decimal:
        raise LTBenchError(
            f"column {title!r} holds {words[0]!r}, where a comma or point may be of decimals or of "
            'thousands; say decimal = "." or decimal = "," in the protocol'
        )
    found = amounts(words, decimal)
    if found is not None:
        return _of_amounts(title, column, found, decimal)
    for reading in (_of_dates, _of_times):
        read = reading(title, column)
        if read is not None:
            return read
    if len(words) > MANY_LISTS and all(LIST.fullmatch(word) for word in words):
        raise LTBenchError(
            f"column {title!r} holds lists, as {_short(words[0])}; make columns of their parts, or "
            f"say {_way_out(title)}"
        )
    if not losing_digits(words):
        good = {word for word in words if amount(word, decimal) or word in MISSING}
        _refuse_faults(title, column, "numbers", good)
    return column, ""


def _of_amounts(title: str, column: "Series", found: dict[str, Amount], decimal: str) -> "Read":
    units = sorted({one.unit for one in found.values() if one.value == one.value})
    if "%" not in units or not any(one.value for one in found.values() if not one.unit):
        units = [unit for unit in units if unit]  # $5 and 7 are of one unit, 5% and 0.05 are not
    if len(units) > 1 and all(unit.isalpha() and unit.islower() for unit in units):
        return column, "of amounts kept as words, as their units differ"  # 1 adult, 2 adults
    if len(units) > 1:
        raise LTBenchError(
            f"column {title!r} holds amounts in {units[0]!r} and in {units[1]!r}; bring them to "
            f"one unit, or say {_way_out(title)}"
        )
    kept = losing_digits(found)
    if kept and not units:
        return column, f"of numbers kept as words {kept}"
    unit = [f"in {units[0]}"] if units else []
    dress = _dress(found, decimal)
    return _valued(column, found), " ".join(["read as numbers", *unit, *([dress] if dress else [])])


def _dress(found: dict[str, Amount], decimal: str) -> str:
    """How numbers are written, if not plainly."""
    how = ["decimal commas"] if decimal == "," and any("," in word for word in found) else []
    how += ["thousands set apart"] if any(one.apart for one in found.values()) else []
    return f"with {' and '.join(how)}" if how else ""


def _valued(column: "Series", found: dict[str, Amount]) -> "Series":
    return column.map({word: one.value for word, one in found.items()}).astype(np.float64)


def _of_times(title: str, column: "Series") -> "Read | None":
    words = column.dropna().unique()
    if not len(words) or not all(TIME.fullmatch(word) for word in words):
        return None
    return column.map({word: _hours(word) for word in words}).astype(np.float64), AS_HOURS


def _of_dates(title: str, column: "Series") -> "Read | None":
    import pandas as pd

    words = [word for word in column.dropna().unique() if word not in MISSING]
    likely = words if all(map(MONTH.fullmatch, words)) else list(filter(DATE.fullmatch, words))
    if not likely or len(likely) < FEW * len(words):
        return None
    forms = next(filter(None, (list(_forms(word)) for word in likely[:TRIED])), [])
    readings = [
        _days(pd.to_datetime(pd.Series(words), format=form, errors="coerce", utc=True))
        for form in forms
    ]
    best = max(readings, key=lambda days: days.notna().sum(), default=pd.Series([np.nan]))
    if best.isna().any():
        good = {word for word, day in zip(words, best, strict=bool(forms)) if day == day}
        few = FEW if len(likely) < len(words) else MIXED
        _refuse_faults(title, column, "dates of one form", good | MISSING, few)
        return None
    if any(days.notna().all() and not days.equals(best) for days in readings):
        raise LTBenchError(
            f"column {title!r} holds dates as {words[0]!r}, whose day and month cannot be "
            f"told apart; write them as 2024-12-31, or say {_way_out(title)}"
        )
    return column.map(dict(zip(words, best, strict=True))).astype(np.float64), AS_DAYS


def _forms(word: str) -> Iterator[str]:
    """The forms of dates that a word may be in."""
    import pandas as pd

    for form in ("ISO8601", *map("".join, product(DAYS, CLOCKS))):
        if pd.notna(pd.to_datetime(word, format=form, errors="coerce", utc=True)):
            yield form
            if form == "ISO8601":
                return


def _days(dates: "Series") -> "Series":
    import pandas as pd

    return (dates - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(days=1)


def _hours(word: str) -> float:
    hours, minutes, seconds = TIME.fullmatch(word).groups("0")  # type: ignore[union-attr]
    return float(hours) + float(minutes) / 60 + float(seconds) / 3600


def _refuse_faults(
    title: str, column: "Series", what: str, good: Collection[str], few: float = FEW
) -> None:
    """A few words among numbers are faults, which would make a category of every number."""
    words = column.dropna()
    wrong = ~words.isin(good)
    if 0 < wrong.mean() < few and words[~wrong].nunique() > 2:
        row, word = words.index[wrong][0], words[wrong].iloc[0]
        raise LTBenchError(
            f"column {title!r} holds {word!r} in row {row} among {what}; mend it, or say missing = "
            f"{word!r} or categories = [{title!r}] in the protocol"
        )


def _way_out(title: str) -> str:
    return f"drop = [{title!r}] or categories = [{title!r}] in the protocol"


def _decoded(title: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise LTBenchError(
            f"column {title!r} holds bytes that are no text; say drop = [{title!r}] in the protocol"
        ) from None


def _short(value: Any) -> str:
    from textwrap import shorten

    return shorten(str(value), 40, placeholder="...")
