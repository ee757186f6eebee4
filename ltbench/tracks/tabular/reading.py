"""Where tables come from: files of the user or the data folder, scikit-learn, OpenML."""

import warnings
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltbench.datasets import data_folder
from ltbench.datasets.tables import PLAIN, Dialect, WholeTable, line, read_file, whole
from ltbench.errors import LTBenchError, UnknownName
from ltbench.tracks.tabular import keel
from ltbench.tracks.tabular.sources import ENDINGS, SHIPPED, in_data_folder

if TYPE_CHECKING:
    import pandas as pd


def read(
    source: str,
    known: Mapping[str, Path | Callable[[], Any]],
    openml: int | None = None,
    dialect: Dialect = PLAIN,
) -> WholeTable:
    """A table as its source has it; `known` are files of the user's own, and what loads those of
    plugins.

    Raises:
        LTBenchError: it cannot be had.
    """
    found = known.get(source)
    if callable(found):
        table = found()
        if not isinstance(table, WholeTable):
            raise LTBenchError(f"data set {source} is none of a table; its load() gives no frame")
        return table
    if found is not None:
        return read_file(found, dialect)
    if source.startswith("scikit-learn/"):
        return _shipped(source.removeprefix("scikit-learn/"))
    if source.startswith(keel.PREFIX):
        return keel.read(source)
    for ending in ENDINGS:
        path = data_folder() / f"{source}{ending}"
        if path.exists():
            return read_file(path, dialect)
    if openml is None:
        raise UnknownName("table", source, [*in_data_folder(), *known], where="--data names more")
    return _fetched(source, openml)


@cache
def _shipped(name: str) -> WholeTable:
    from sklearn import datasets

    if name not in SHIPPED:
        raise UnknownName("table of scikit-learn", name, SHIPPED, where="in the protocol's tables")
    bunch = getattr(datasets, f"load_{name.replace('-', '_')}")(as_frame=True)
    target = bunch.target
    if name != "diabetes":
        target = target.map(lambda label: str(bunch.target_names[label]))
    return whole(bunch.data.assign(target=target))


@cache
def _fetched(source: str, number: int) -> WholeTable:
    """A table of OpenML, which scikit-learn keeps once it has it."""
    from sklearn.datasets import fetch_openml

    folder = data_folder() / "openml"
    try:
        with warnings.catch_warnings(action="ignore"):  # what fails is told below, once
            bunch = fetch_openml(data_id=number, data_home=folder, n_retries=1, delay=0.1)
    # What is fetched, or kept of it, can end in anything; that must cost this table alone.
    except Exception as error:
        raise LTBenchError(
            f"table {source} is not in {data_folder()} and could not be fetched from OpenML, "
            f"number {number} ({line(error)}); set LTBENCH_DATA to a folder that holds it"
        ) from None
    try:
        return whole(_with_target(bunch.data, bunch.target))
    except LTBenchError as error:
        raise LTBenchError(
            f"table {source}, number {number} of OpenML, {error}; save it as {source}.csv in "
            f"{data_folder()} as you mean it"
        ) from None


def _with_target(data: Any, target: Any) -> "pd.DataFrame":
    """The columns that OpenML has, and the one that is to be told as "target" at the end.

    Raises:
        LTBenchError: there is no such frame.
    """
    import pandas as pd

    if not isinstance(data, pd.DataFrame):
        raise LTBenchError("is sparse, which no column of a table is")
    if isinstance(target, pd.DataFrame):
        if target.shape[1] != 1:
            raise LTBenchError(f"has {target.shape[1]} targets: {', '.join(map(str, target))}")
        target = target.iloc[:, 0]
    if target is None:
        return data
    if "target" in data.columns:
        raise LTBenchError('has a column "target" that is not its target')
    return data.assign(target=target)
