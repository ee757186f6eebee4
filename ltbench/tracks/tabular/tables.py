"""Tables: what scikit-learn ships, files of the data folder, or what OpenML has of them."""

import hashlib
import warnings
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ltbench.datasets import data_folder
from ltbench.errors import LTBenchError, UnknownName
from ltbench.protocols.imbalance import class_counts, long_tailed
from ltbench.tracks.tabular.sources import ENDINGS, SHIPPED, in_data_folder

if TYPE_CHECKING:
    import pandas as pd

    from ltbench.tracks.tabular.problem import TableData

FEW_VALUES = 0.5  # a column of words of which this share are numbers is one of numbers, with faults


@dataclass(frozen=True)
class TableRows:
    """A classification of rows: `features`, a column each, and `labels` [N] in 0..C-1.

    Columns of numbers are float64, those of words categories; both may miss values. `positive` is
    the rare class of two. `notes` say what was left out.
    """

    features: "pd.DataFrame"
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    fingerprint: str
    ordered: bool = False
    notes: tuple[str, ...] = ()

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
        if len(self.classes) > 2:
            return None
        return int(np.bincount(self.labels, minlength=2).argmin())


@dataclass(frozen=True)
class WholeTable:
    """A table as it stands in its source."""

    frame: "pd.DataFrame"
    fingerprint: str

    def described(self) -> dict[str, Any]:
        """What is to be said of it."""
        return {
            "kind": "table",
            "rows": len(self.frame),
            "columns": [str(column) for column in self.frame.columns],
            "fingerprint": self.fingerprint,
        }


def whole(source: str) -> WholeTable:
    """A table as its source has it.

    Raises:
        LTBenchError: it cannot be had.
    """
    return WholeTable(*read(source, None, {}))


def load(name: str, data: "TableData", known: dict[str, Path]) -> TableRows:
    """The classification that a protocol makes of a table; `known` are files of the user's own.

    Raises:
        LTBenchError: the table cannot be had, is not the protocol's, or has a fault.
    """
    frame, fingerprint = read(data.source, data.openml, known)
    if data.fingerprint not in ("any", fingerprint):
        raise LTBenchError(
            f"table {name} has fingerprint {fingerprint}, but the protocol is fixed to "
            f"{data.fingerprint}; take the table that it names, or write a protocol of your own"
        )
    return _limited(name, _classified(name, frame, data, fingerprint), data)


@cache
def _read_cached(path: Path) -> "tuple[pd.DataFrame, str]":
    import pandas as pd

    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except ImportError:
        raise LTBenchError("parquet files need pyarrow: pip install 'ltbench[parquet]'") from None
    except (OSError, ValueError) as error:  # what pandas and pyarrow raise are kinds of these
        raise LTBenchError(f"{path} cannot be read as a table: {_line(error)}") from None
    return frame, _fingerprint(frame)


def read(source: str, openml: int | None, known: dict[str, Path]) -> "tuple[pd.DataFrame, str]":
    """A table as its source has it, and its fingerprint.

    Raises:
        LTBenchError: it cannot be had.
    """
    if source in known:
        return _read_cached(known[source])
    if source.startswith("scikit-learn/"):
        return _shipped(source.removeprefix("scikit-learn/"))
    for ending in ENDINGS:
        path = data_folder() / f"{source}{ending}"
        if path.exists():
            return _read_cached(path)
    if openml is None:
        raise UnknownName("table", source, [*in_data_folder(), *known], where="--data names more")
    return _fetched(source, openml)


@cache
def _shipped(name: str) -> "tuple[pd.DataFrame, str]":
    from sklearn import datasets

    if name not in SHIPPED:
        raise UnknownName("table of scikit-learn", name, SHIPPED, where="in the protocol's tables")
    bunch = getattr(datasets, f"load_{name.replace('-', '_')}")(as_frame=True)
    target = bunch.target
    if name != "diabetes":
        target = target.map(lambda label: str(bunch.target_names[label]))
    frame = bunch.data.assign(target=target)
    return frame, _fingerprint(frame)


@cache
def _fetched(source: str, number: int) -> "tuple[pd.DataFrame, str]":
    """A table of OpenML, which scikit-learn keeps once it has it."""
    from urllib.error import URLError

    from sklearn.datasets import fetch_openml

    folder = data_folder() / "openml"
    try:
        with warnings.catch_warnings(action="ignore"):  # what fails is told below, once
            bunch = fetch_openml(data_id=number, data_home=folder, n_retries=1, delay=0.1)
    except (URLError, OSError, ValueError) as error:
        raise LTBenchError(
            f"table {source} is not in {data_folder()} and could not be fetched from OpenML, "
            f"number {number} ({_line(error)}); set LTBENCH_DATA to a folder that holds it"
        ) from None
    frame = bunch.data.assign(target=bunch.target)
    return frame, _fingerprint(frame)


def _line(error: Exception) -> str:
    from textwrap import shorten

    return shorten(str(error), 120) or type(error).__name__


def _fingerprint(frame: "pd.DataFrame") -> str:
    """A hash of every name and value; numbers count as such, whatever type they are kept in."""
    digest = hashlib.sha256()
    for name in frame.columns:
        column = frame[name]
        if _of_numbers(column):
            values = column.to_numpy(dtype=np.float64, na_value=np.nan).tobytes()
        else:
            missing = column.isna()
            words = ("\1" if gap else str(v) for v, gap in zip(column, missing, strict=True))
            values = "\0".join(words).encode()
        digest.update(f"{name}\0{len(column)}\0".encode() + values)
    return digest.hexdigest()[:16]


def _of_numbers(column: "pd.Series[Any]") -> bool:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    return is_numeric_dtype(column) and not is_bool_dtype(column)


def _classified(name: str, frame: "pd.DataFrame", data: "TableData", fingerprint: str) -> TableRows:
    if not frame.columns.is_unique:
        twin = frame.columns[frame.columns.duplicated()][0]
        raise LTBenchError(f"table {name} has two columns called {twin!r}")
    if data.target not in frame.columns:
        raise LTBenchError(
            f"table {name} has no column {data.target!r} of classes; it has "
            f"{', '.join(map(str, frame.columns[:8]))}{', ...' if len(frame.columns) > 8 else ''}"
        )
    if data.missing is not None:
        frame = frame.apply(_without, word=data.missing)
    target = frame[data.target]
    if target.isna().any():
        row = int(target.isna().to_numpy().argmax())
        raise LTBenchError(f"table {name}: row {row} has no class in column {data.target!r}")
    labels, classes = _labelled(name, target, data)
    features, notes = _cleaned(name, frame.drop(columns=data.target))
    return TableRows(
        features.reset_index(drop=True),
        labels,
        classes,
        fingerprint,
        ordered=data.ordered or bool(data.edges),
        notes=tuple(notes),
    )


def _without(column: "pd.Series[Any]", word: str) -> "pd.Series[Any]":
    """A column whose value `word` is missing; of numbers, if that is all that is left."""
    import pandas as pd

    if _of_numbers(column) or not (column == word).any():
        return column
    left = column.mask(column == word)
    numbers = pd.to_numeric(left, errors="coerce")
    return numbers if (numbers.isna() == left.isna()).all() else left


def _labelled(
    name: str, target: "pd.Series[Any]", data: "TableData"
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    if data.edges:
        if not _of_numbers(target):
            raise LTBenchError(f"table {name}: edges need a target of numbers")
        labels = np.searchsorted(data.edges, target.to_numpy(dtype=np.float64), side="right")
        return labels.astype(np.int64), tuple(map(str, range(len(data.edges) + 1)))
    words = target.map(_word)
    classes = sorted(set(words), key=_in_order)
    if data.positive:
        for label in data.positive:
            if label not in classes:
                raise UnknownName("class", label, classes, where=f"in table {name}")
        return words.isin(data.positive).to_numpy().astype(np.int64), ("rest", "positive")
    place = {label: number for number, label in enumerate(classes)}
    return words.map(place).to_numpy(dtype=np.int64), tuple(classes)


def _word(value: Any) -> str:
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if whole else str(value)


def _in_order(label: str) -> tuple[float, str]:
    """Numbers by their size, before words."""
    try:
        return float(label), ""
    except ValueError:
        return np.inf, label


def _cleaned(name: str, features: "pd.DataFrame") -> "tuple[pd.DataFrame, list[str]]":
    """Numbers as float64 and words as categories; columns that tell nothing are left out."""
    import pandas as pd

    kept: dict[Any, Any] = {}
    dropped: dict[str, list[str]] = {}
    seen: set[bytes] = set()
    for title in features.columns:
        column = features[title]
        if _of_numbers(column):
            numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
            if np.isinf(numbers).any():
                row = int(np.isinf(numbers).argmax())
                raise LTBenchError(
                    f"table {name}: column {title!r} is infinite in row {row}; "
                    "mend it, or leave it empty as missing"
                )
            column = pd.Series(numbers, index=column.index)
        else:
            _refuse_faults(name, title, column)
            column = column.map(_word, na_action="ignore").astype("category")
        content = pd.util.hash_pandas_object(column, index=False).to_numpy().tobytes()
        if column.isna().all():
            dropped.setdefault("empty", []).append(str(title))
        elif column.nunique(dropna=False) == 1:
            dropped.setdefault("constant", []).append(str(title))
        elif content in seen:
            dropped.setdefault("repeated", []).append(str(title))
        else:
            kept[title] = column
            seen.add(content)
    if not kept:
        raise LTBenchError(f"table {name} has no column that tells its rows apart")
    notes = [f"columns left out as {why}: {', '.join(which)}" for why, which in dropped.items()]
    return pd.DataFrame(kept), notes


def _refuse_faults(name: str, title: str, column: "pd.Series[Any]") -> None:
    """Words among numbers are a fault that would make a category of every number."""
    import pandas as pd

    there = column.dropna().astype(str)
    numbers = pd.to_numeric(there, errors="coerce")
    wrong = numbers.isna()
    if 0 < wrong.mean() < FEW_VALUES and numbers.nunique() > 2:
        row, word = there.index[wrong][0], there[wrong].iloc[0]
        raise LTBenchError(
            f"table {name}: column {title!r} holds {word!r} in row {row} among numbers; mend it, "
            f"or say missing = {word!r} in the protocol"
        )


def _limited(name: str, rows: TableRows, data: "TableData") -> TableRows:
    """The rows that are kept where the protocol drops some; each class keeps two at least."""
    counts = np.bincount(rows.labels, minlength=len(rows.classes))
    if (counts > 0).sum() < 2:
        raise LTBenchError(f"table {name} has one class; there is nothing to tell apart")
    for c in np.flatnonzero(counts < 2)[:1]:
        raise LTBenchError(
            f"table {name}: class {rows.classes[c]} has {counts[c]} row, but two folds need 2; "
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
