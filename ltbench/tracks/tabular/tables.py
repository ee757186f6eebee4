"""The classification that a protocol makes of a table: its rows, classes, and the rare one."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ltbench.datasets.amounts import amount, exact
from ltbench.datasets.columns import of_numbers, of_words, scalars, tidied, tidy, understood
from ltbench.datasets.tables import Dialect, WholeTable, refuse_twins
from ltbench.errors import LTBenchError, UnknownName, nearest
from ltbench.protocols.imbalance import class_counts, long_tailed
from ltbench.tracks.holding import refuse_broken
from ltbench.tracks.tabular.features import cleaned, look_alikes, worded
from ltbench.tracks.tabular.holding import broken
from ltbench.tracks.tabular.reading import read

if TYPE_CHECKING:
    import pandas as pd

    from ltbench.tracks.tabular.problem import TableData

    Series: TypeAlias = pd.Series[Any]
    Classes: TypeAlias = tuple[NDArray[np.int64], tuple[str, ...], tuple[str, ...]]

NAMED = ("rest", "positive")  # the classes where the protocol names those that become one
MANY_NUMBERS = 20  # different ones, of which some are no whole numbers, are no classes
MOST_BYTES = 2**32  # of the inputs of learners, which are held several times


@dataclass(frozen=True)
class TableRows:
    """A classification of rows: `features`, a column each, and `labels` [N] in 0..C-1.

    Columns of numbers are float64, those of words categories; both may miss values. `notes`
    say how it was read and what was left out. `rare` is the rarer of two classes in the whole
    table, of which some rows may have been dropped since.
    """

    features: "pd.DataFrame"
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    fingerprint: str
    ordered: bool = False
    notes: tuple[str, ...] = ()
    rare: int | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def numbers(self) -> NDArray[np.float64]:
        """The columns of numbers [N, M]; NaN is missing."""
        numbers = self.features.select_dtypes("number")
        return np.asarray(numbers, dtype=np.float64)

    @cached_property
    def codes(self) -> NDArray[np.int64]:
        """The category [N, K] in each column of words, from 0; a missing value is one more."""
        words = self.features.select_dtypes("category")
        columns = [words[name].cat.codes.to_numpy(dtype=np.int64) for name in words]
        last = [len(words[name].cat.categories) for name in words]
        coded = np.column_stack(columns) if columns else np.empty((len(self), 0), dtype=np.int64)
        return np.where(coded < 0, last, coded)

    @property
    def positive(self) -> int | None:
        """The class of two that F1 and its like are of, and thresholds are set for."""
        if self.rare is not None:
            return self.rare
        return rarer(np.bincount(self.labels, minlength=len(self.classes)), self.classes)


def load(name: str, data: "TableData", known: Mapping[str, Path | Callable[[], Any]]) -> TableRows:
    """The classification that a protocol makes of a table; `known` is as in `read`.

    Raises:
        LTBenchError: the table cannot be had, is not the protocol's, or has a fault.
    """
    dialect = Dialect(data.separator, data.decimal, data.header, data.encoding)
    table = read(data.source, known, data.openml, dialect)
    if data.fingerprint not in ("any", table.fingerprint):
        raise LTBenchError(
            f"table {name} has fingerprint {table.fingerprint}, but the protocol is fixed to "
            f"{data.fingerprint}; take the table that it names, or write a protocol of your own"
        )
    with _named(name):
        whole = _classified(table, data)
        told = whole.features, whole.labels, whole.classes
        refuse_broken("it", broken(*told, data.holds))
        rows = _limited(whole, data)
        _refuse_large(rows)
        return rows


@contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except LTBenchError as error:
        raise LTBenchError(f"table {name}: {error}") from None


def _classified(table: WholeTable, data: "TableData") -> TableRows:
    frame = table.frame
    refuse_twins(list(frame.columns))
    _refuse_unknown(data.target, frame, "of classes")
    for title in data.drop:
        _refuse_unknown(title, frame, "to drop")
    for title in data.categories:
        _refuse_unknown(title, frame, "of categories")
    frame = frame.drop(columns=list(data.drop))
    frame, unseen = _without(frame, data.missing)
    target = frame[data.target]
    if target.isna().any():
        row = int(target.isna().to_numpy().argmax())
        raise LTBenchError(f"row {row} has no class in column {data.target!r}")
    decimal = data.decimal or table.decimal
    labels, classes, told = _labelled(target, data, decimal)
    features, notes = cleaned(
        frame.drop(columns=data.target), table.separator, decimal, data.categories
    )
    counts = np.bincount(labels, minlength=len(classes))
    return TableRows(
        features.reset_index(drop=True),
        labels,
        classes,
        table.fingerprint,
        ordered=data.ordered or bool(data.edges),
        notes=(*table.notes, *unseen, *told, *notes),
        rare=rarer(counts, classes),
    )


def rarer(counts: NDArray[np.int64], classes: tuple[str, ...]) -> int | None:
    """The class of two that has fewer rows; of as many, the one that the protocol names, or else
    the first. None of more than two."""
    if len(classes) != 2:
        return None
    if counts[0] == counts[1]:
        return 1 if classes == NAMED else 0
    return int(counts.argmin())


def _refuse_unknown(title: str, frame: "pd.DataFrame", what: str) -> None:
    if title not in frame.columns:
        columns = list(frame.columns)
        near = nearest(title, columns)
        raise LTBenchError(
            f"it has no column {title!r} {what}; it has {', '.join(columns[:8])}"
            f"{', ...' if len(columns) > 8 else ''}{f'; did you mean {near}?' if near else ''}"
        )


def _without(
    frame: "pd.DataFrame", missing: str | tuple[str, ...] | None
) -> "tuple[pd.DataFrame, list[str]]":
    """The frame without the words that stand for a missing value, and those that it has not."""
    words = (missing,) if isinstance(missing, str) else missing or ()
    unseen = []
    for word in words:
        without = frame.apply(_masked, word=word)
        if without.isna().sum().sum() == frame.isna().sum().sum():
            unseen.append(f"missing value {word!r} is nowhere in it")
        frame = without
    return frame, unseen


def _masked(column: "Series", word: str) -> "Series":
    """A column in which a word, or the number that it says, is missing."""
    if of_numbers(column):
        said = amount(word, ".")
        return column.mask(column == said.value) if said is not None else column
    read = tidied(column)[0] if of_words(column) else column
    return column.mask(read.isin([word]))


def _labelled(target: "Series", data: "TableData", decimal: str) -> "Classes":
    """The label [N] of each row, the classes, and what is to be told of them."""
    column, told = scalars(data.target, target)
    column = target.astype(str) if told else column  # a class is called as it is written
    if of_words(column):
        column, told = tidied(column)
    if data.edges:
        return _cut(column, data, decimal)
    words = column.astype(object).map(worded)
    classes = sorted(set(words), key=_in_order)
    if of_numbers(column) and len(classes) > MANY_NUMBERS and (column % 1 != 0).any():
        raise LTBenchError(
            f"column {data.target!r} holds {len(classes)} different numbers, which are no classes; "
            "edges in the protocol cut them into some"
        )
    notes = [f"classes {why}: {which}" for why, which in look_alikes(classes)]
    notes += [f"classes {told}"] if told else []
    if not data.positive:
        place = {label: number for number, label in enumerate(classes)}
        return words.map(place).to_numpy(dtype=np.int64), tuple(classes), tuple(notes)
    wanted = list(map(tidy, data.positive))
    for label in wanted:
        if label not in classes:
            raise UnknownName("class", label, classes, where=f"in column {data.target!r}")
    labels = words.isin(wanted).to_numpy().astype(np.int64)
    if labels.mean() > 0.5:
        notes.append("positive classes have more rows than the rest, of which F1 and its like are")
    return labels, NAMED, tuple(notes)


def _cut(column: "Series", data: "TableData", decimal: str) -> "Classes":
    """The classes between the edges of a target of numbers."""
    if of_words(column):
        column, _ = understood(data.target, column, decimal or ".")
    if not of_numbers(column):
        raise LTBenchError("edges need a target of numbers")
    numbers = column.to_numpy(dtype=np.float64)
    if np.isnan(numbers).any():
        row = int(np.isnan(numbers).argmax())
        raise LTBenchError(f"row {row} has no class in column {data.target!r}")
    labels = np.searchsorted(data.edges, numbers, side="right")
    return labels.astype(np.int64), tuple(map(str, range(len(data.edges) + 1))), ()


def _in_order(label: str) -> tuple[Decimal, str]:
    """Numbers by their size, before words; one number written in two ways by its words."""
    number = exact(label)
    return Decimal("inf") if number is None else number, label


def _refuse_large(rows: TableRows) -> None:
    """Refuses what would not fit: each word of each column becomes a column of indicators."""
    words = rows.features.select_dtypes("category")
    many = {title: len(words[title].cat.categories) for title in words}
    width = rows.numbers.shape[1] + sum(many.values())
    if 4 * len(rows) * width > MOST_BYTES:
        widest = max(many, key=lambda title: many[title])
        raise LTBenchError(
            f"its {len(rows):,} rows would become {width:,} columns of indicators and numbers, "
            f"{many[widest]:,} of them of {widest!r}; say drop = [{widest!r}] in the protocol"
        )


def _limited(rows: TableRows, data: "TableData") -> TableRows:
    """The rows that are kept where the protocol drops some; each class keeps two at least."""
    counts = np.bincount(rows.labels, minlength=len(rows.classes))
    if (counts > 0).sum() < 2:
        raise LTBenchError("it has one class; there is nothing to tell apart")
    for c in np.flatnonzero(counts < 2)[:1]:
        raise LTBenchError(
            f"class {rows.classes[c]} has {counts[c]} row, but two folds need 2; "
            "leave the class out, or join it with another as positive"
        )
    wanted = counts
    if data.factor is not None:
        order = np.argsort(-counts, kind="stable")
        falling = class_counts("exponential", int(counts.max()), data.factor, len(counts))
        wanted = wanted.copy()
        wanted[order] = np.maximum(np.minimum(falling, counts[order]), 2)
    if data.rows is not None and wanted.sum() > data.rows:
        wanted = np.maximum((wanted * (data.rows / wanted.sum())).round().astype(int), 2)
    if (wanted == counts).all():
        return rows
    kept = np.sort(long_tailed(rows.labels, wanted.tolist()))
    features = rows.features.iloc[kept].reset_index(drop=True)
    return replace(rows, features=features, labels=rows.labels[kept])
