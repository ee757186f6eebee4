"""What a protocol declares of a table, held against its rows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ltbench.errors import LTBenchError, nearest
from ltbench.tracks import holding
from ltbench.tracks.holding import FIRST
from ltbench.tracks.tabular.features import worded
from ltbench.tracks.tabular.problem import TableHolds

if TYPE_CHECKING:
    import pandas as pd

Which = NDArray[np.bool_]


def broken(
    features: "pd.DataFrame",
    labels: NDArray[np.int64],
    classes: Sequence[str],
    rules: Sequence[TableHolds],
) -> Iterator[str]:
    """What does not hold of a table: its columns of features, and the label [N] of each row.

    Raises:
        LTBenchError: a rule names a column that it has not.
    """
    for rule in rules:
        yield from holding.of_classes(rule, labels, classes)
        if rule.unique or rule.consistent:
            yield from holding.of_rows(rule, _digests(features), labels, "row")
        if rule.values is not None:
            low, high = rule.values
            column = _numbers(features, rule.column)
            out = ~np.isnan(column) & ~((column >= low) & (column <= high))
            yield from _told(out, f"{rule.column} beyond {low:g} to {high:g}")
        for first, second in zip(rule.rising, rule.rising[1:], strict=False):
            falls = _numbers(features, first) > _numbers(features, second)
            yield from _told(falls, f"{first} above {second}")
        if rule.where:
            bad = _all(features, rule.where, unknown=False) & ~_all(
                features, rule.then, unknown=True
            )
            said = " and ".join(map(_said, rule.where.items()))
            yield from _told(bad, f"{said} without {' and '.join(map(_said, rule.then.items()))}")


def _all(features: "pd.DataFrame", wanted: Mapping[str, Sequence[str]], unknown: bool) -> Which:
    """Which rows [N] hold one of the words in each column; a missing one counts as `unknown`."""
    found = np.ones(len(features), dtype=bool)
    for title, words in wanted.items():
        column = _column(features, title)
        held = column.astype(object).map(worded).isin(words).to_numpy()
        found &= np.where(column.isna().to_numpy(), unknown, held)
    return found


def _numbers(features: "pd.DataFrame", title: str) -> NDArray[np.float64]:
    column = _column(features, title)
    if column.dtype != np.float64:
        raise LTBenchError(f"column {title!r} is of words, which have no order")
    return np.asarray(column, dtype=np.float64)


def _column(features: "pd.DataFrame", title: str) -> "pd.Series":
    if title not in features:
        near = nearest(title, list(features.columns))
        raise LTBenchError(
            f"holds names column {title!r}, which is none that is learnt from"
            f"{f'; did you mean {near}?' if near else ''}"
        )
    return features[title]


def _digests(features: "pd.DataFrame") -> list[bytes]:
    import pandas as pd

    hashed = pd.util.hash_pandas_object(features, index=False).to_numpy()
    return [one.tobytes() for one in hashed]


def _told(out: Which, what: str) -> Iterator[str]:
    places = np.flatnonzero(out)
    if len(places):
        named = ", ".join([*map(str, places[:FIRST]), *(["..."] if len(places) > FIRST else [])])
        yield f"{len(places)} rows have {what} (rows {named})"


def _said(wanted: tuple[str, Sequence[str]]) -> str:
    return f"{wanted[0]} {' or '.join(wanted[1])}"
