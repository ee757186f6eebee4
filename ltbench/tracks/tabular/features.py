"""The features of a table: numbers and categories, without what tells nothing."""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ltbench.datasets.amounts import MISSING, decimals, exact
from ltbench.datasets.columns import (
    AS_DAYS,
    Notes,
    as_one_number,
    of_numbers,
    of_words,
    scalars,
    tidied,
    tidy,
    understood,
)
from ltbench.errors import LTBenchError

if TYPE_CHECKING:
    import pandas as pd

MANY_WORDS = 100  # of a column, each of which becomes a column of indicators
MANY_ROWS = 20  # from which on whole numbers that are all different are told of
EXACT = 2**53  # the whole numbers that float64 tells apart
SCALES = (1e-100, 1e100)  # the largest number of a column whose square is surely one

ROW_NAMES = ("Unnamed: 0", "index", "rownames", "row.names", "row_names")
IDENTIFIER = re.compile(r"(?i:(?:^|[\W_])(?:id|key|uuid|guid|no|nr|number|index))$|[a-z]I[dD]$")


def cleaned(
    frame: "pd.DataFrame", separator: str, decimal: str, categories: Collection[str] = ()
) -> "tuple[pd.DataFrame, tuple[str, ...]]":
    """Numbers as float64 and words as categories, and what was done to which columns.

    The columns `categories` are of words, whatever they look like.

    Raises:
        LTBenchError: a column cannot be understood in one way alone, or none is left.
    """
    import pandas as pd

    notes = Notes()
    kept: dict[str, Any] = {}
    seen: set[bytes] = set()
    for title, read in _understood(frame, separator, decimal, categories, notes).items():
        number = of_numbers(read) and title not in categories
        column = _numbers(title, read, notes) if number else None
        column = _words(read) if column is None else column
        content = pd.util.hash_pandas_object(column, index=False).to_numpy().tobytes()
        reason = _tells_nothing(column, title == frame.columns[0] and title in ROW_NAMES)
        if reason or content in seen:
            notes.add(f"left out as {reason or 'repeated'}", title)
            continue
        kept[title] = column
        seen.add(content)
        for told, of in _remarks(title, column):
            notes.add(told, of)
    if not kept:
        raise LTBenchError("it has no column that tells its rows apart")
    return pd.DataFrame(kept), notes.lines()


def _understood(
    frame: "pd.DataFrame",
    separator: str,
    decimal: str,
    categories: Collection[str],
    notes: Notes,
) -> "dict[str, pd.Series[Any]]":
    """The columns as numbers where they say such, whatever objects or words they were."""
    columns, words = {}, {}
    for title in frame.columns:
        columns[title], told = scalars(title, frame[title])
        notes.add(told, title)
        if of_words(columns[title]):
            columns[title], told = tidied(columns[title])
            notes.add(told, title)
            words[title] = columns[title].dropna().unique()
    words = {title: words[title] for title in words if title not in categories}
    points, _ = decimals(words, separator, decimal)
    for title in words:
        columns[title], told = understood(title, columns[title], points[title])
        notes.add(told, title)
    return columns


def _numbers(title: str, column: "pd.Series[Any]", notes: Notes) -> "pd.Series[np.float64] | None":
    """Numbers as float64, of which the largest is no larger than what can be squared; None if they
    are whole numbers that float64 does not tell apart."""
    import pandas as pd
    from pandas.api.types import is_integer_dtype

    whole = column.dropna()
    if is_integer_dtype(column) and len(whole) and max(whole.max(), -whole.min()) > EXACT:
        notes.add("of numbers kept as words for numbers of more than 15 digits", title)
        return None
    numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(numbers).any():
        row = int(np.isinf(numbers).argmax())
        raise LTBenchError(
            f"column {title!r} is infinite in row {row}; mend it, or leave it empty as missing"
        )
    days = as_one_number(numbers)
    if days is not None:
        notes.add(AS_DAYS, title)
        return days.set_axis(column.index)
    largest = np.nanmax(np.abs(numbers), initial=0)
    if largest > 0 and not SCALES[0] < largest < SCALES[1]:
        notes.add("taken in units of their largest number, as squares overflow", title)
        numbers = numbers / largest
    return pd.Series(numbers, index=column.index)


def _words(column: "pd.Series[Any]") -> "pd.Series[Any]":
    return column.astype(object).map(worded, na_action="ignore").astype("category")


def worded(value: Any) -> str:
    """A value as a word; a whole number without a point, text without blanks around it."""
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if whole else tidy(str(value))


def _tells_nothing(column: "pd.Series[Any]", named_rows: bool) -> str:
    """Why a column cannot tell rows apart that a learner has not seen; empty if it can."""
    different = column.nunique(dropna=False)
    if column.isna().all():
        return "empty"
    if different == 1:
        return "constant"
    if column.dtype == "category":
        return "different in every row" if different == len(column) else ""
    numbers = column.to_numpy()
    if column.notna().all() and constant(numbers[:, None])[0]:
        return "constant but for rounding"
    counting = any(np.array_equal(numbers, np.arange(k, k + len(numbers))) for k in (0, 1))
    return "the numbers of rows" if named_rows and counting else ""


def constant(numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which columns [M] of numbers [N, M] are constant but for rounding; NaN is passed over.

    As scikit-learn tells, a variance that N roundings can make is none.
    """
    import warnings

    n, rounding = len(numbers), np.finfo(np.float64).eps
    with warnings.catch_warnings(action="ignore"):  # of columns without a number
        mean, variance = np.nanmean(numbers, axis=0), np.nanvar(numbers, axis=0)
    none: NDArray[np.bool_] = variance <= n * rounding * variance + (n * mean * rounding) ** 2
    return none


def _remarks(title: str, column: "pd.Series[Any]") -> Iterator[tuple[str, str]]:
    """What the user may have to know of a column that is kept."""
    if column.dtype != "category":
        numbers = column.to_numpy()
        if len(numbers) < MANY_ROWS or not column.is_unique or (numbers % 1 != 0).any():
            return
        if np.ptp(numbers) == len(numbers) - 1 or IDENTIFIER.search(title):
            yield "that seem to number the rows; drop in the protocol leaves columns out", title
        return
    words = list(column.cat.categories)
    if len(words) > MANY_WORDS:
        told = f"of more than {MANY_WORDS} words, each of which becomes a column"
        yield told, f"{title} ({len(words):,})"
    for told, which in look_alikes(words):
        yield f"with words {told}", f"{title} ({which})"


def look_alikes(words: Iterable[str]) -> Iterator[tuple[str, str]]:
    """What may be meant otherwise: words that are missing values elsewhere, and words that differ
    in case alone or are one number."""
    gaps = sorted(MISSING.intersection(words))
    if gaps:
        yield "that may stand for missing values, if missing says so", ", ".join(gaps)
    for told, key in (("that differ in case alone", str.casefold), ("that are one number", exact)):
        alike: dict[Any, list[str]] = {}
        for word in words:
            same = key(word)
            alike.setdefault(word if same is None else same, []).append(word)
        for which in (twins for twins in alike.values() if len(twins) > 1):
            yield told, ", ".join(which)
