"""Tables of files: parquet and delimited text, packed or not, whatever their names end with."""

import bz2
import gzip
import hashlib
import io
import lzma
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ltbench.datasets import delimited
from ltbench.datasets.amounts import decimals, plain_numbers
from ltbench.datasets.columns import Notes, numbers, of_numbers, of_words, tidied
from ltbench.errors import LTBenchError

if TYPE_CHECKING:
    import pandas as pd

FEW_WAYS = 20  # that the numbers of a column are written in; more are no classes

PACKED = {b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress, b"\xfd7zXZ": lzma.decompress}
DAMAGED = (
    *(OSError, EOFError, ValueError, RuntimeError, NotImplementedError),
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile),
)
"""What unpacking raises; RuntimeError where it takes a password."""

FOREIGN = {
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"ARROW1": "an Arrow file",
    b"\x28\xb5\x2f\xfd": "packed by Zstandard",
    b"\x93NUMPY": "a NumPy array",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
    b"\x89HDF": "an HDF5 file",
    b"SQLite": "an SQLite database",
    b"%PDF": "a PDF document",
    b"version https://git-lfs": "a pointer of Git LFS in place of the file",
    b"<": "a web page or XML",
    b"{": "JSON",
    b"[{": "JSON",
    b"@relation": "an ARFF file",
    b"%": "an ARFF file",
}
"""What is no table, by how it begins."""


class Dialect(NamedTuple):
    """How delimited text is written, as far as the user says so."""

    separator: str | None = None
    decimal: str | None = None
    header: bool | None = None
    encoding: str | None = None


PLAIN = Dialect()


@dataclass(frozen=True)
class WholeTable:
    """A table as it stands in its source: columns of numbers, words, dates or other objects.

    `notes` say how it was read. `separator` and `decimal` are those of delimited text, the second
    as far as its columns agree, and help to understand its words.
    """

    frame: "pd.DataFrame"
    fingerprint: str
    notes: tuple[str, ...] = ()
    separator: str = ","
    decimal: str = ""

    def described(self) -> dict[str, Any]:
        """What is to be said of it."""
        return {
            "kind": "table",
            "rows": len(self.frame),
            "columns": list(self.frame.columns),
            "fingerprint": self.fingerprint,
            "notes": list(self.notes),
        }


def whole(frame: "pd.DataFrame", **told: Any) -> WholeTable:
    """A frame as a table, its columns called by texts, and an index with names columns of it."""
    import pandas as pd

    named = [name for name in frame.index.names if name is not None and name not in frame.columns]
    if named:
        frame = frame.reset_index(named)
    labels = [" ".join(map(str, one)) if isinstance(one, tuple) else str(one) for one in frame]
    frame = frame.reset_index(drop=True).set_axis(pd.Index(labels, dtype=object), axis=1)
    return WholeTable(frame, fingerprint(frame), **told)


def read_file(path: Path, dialect: Dialect = PLAIN) -> WholeTable:
    """The table of a file, which is looked at anew if it has changed.

    Raises:
        LTBenchError: it is none, is damaged, or cannot be read in one way alone; names the file.
    """
    try:
        state = path.stat()
        return _read(path.resolve(), dialect, state.st_mtime_ns, state.st_size)
    except OSError as error:
        reason: Any = error.strerror or error
    except LTBenchError as error:
        reason = error
    raise LTBenchError(f"{path} cannot be read as a table: {reason}")


def is_table(path: Path) -> bool:
    """Whether a path is to be read as a table, not as pictures or arrays."""
    if path.is_dir() or path.suffix.lower() in ("", ".npz"):
        return False
    if path.suffix.lower() != ".parquet":
        return True
    try:
        from pyarrow import ArrowException, parquet, types

        kinds = parquet.read_schema(path).types
    except (ImportError, ArrowException, OSError):
        return True
    return not any(map(types.is_struct, kinds)) and not any(map(types.is_binary, kinds))


@lru_cache(maxsize=8)
def _read(path: Path, dialect: Dialect, *state: int) -> WholeTable:
    if path.is_dir():
        return _of_parquet(path)
    data = unpacked(path.read_bytes())
    if data.startswith(b"PAR1"):
        return _of_parquet(io.BytesIO(data))
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:80].lower()
    kind = next((k for begin, k in FOREIGN.items() if start.startswith(begin.lower())), None)
    if kind is not None:
        raise LTBenchError(f"it is {kind}; save the table as CSV or parquet")
    if path.suffix == ".parquet":
        raise LTBenchError("it is no parquet file")
    return _of_text(delimited.decoded(data, dialect.encoding), dialect)


def unpacked(data: bytes) -> bytes:
    """The bytes of a file, or of the one file that it packs.

    Raises:
        LTBenchError: it packs several, or is damaged.
    """
    try:
        for mark, unpack in PACKED.items():
            if data.startswith(mark):
                return unpack(data)
        return _unzipped(data) if data.startswith(b"PK\3\4") else data
    except DAMAGED as error:
        raise LTBenchError(f"it is packed, and damaged or locked ({line(error)})") from None


def _unzipped(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        names = [one for one in packed.namelist() if not one.endswith("/")]
        if any(name in names for name in ("xl/workbook.xml", "content.xml", "word/document.xml")):
            raise LTBenchError("it is a workbook or document; save the table as CSV")
        names = [name for name in names if not name.startswith(("__MACOSX/", "."))]
        if len(names) != 1:
            told = ", ".join(names[:3]) or "nothing"
            raise LTBenchError(f"it packs {told}; unpack it, and name the one table that is meant")
        return packed.read(names[0])


def _of_parquet(source: Path | io.BytesIO) -> WholeTable:
    import pandas as pd

    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise LTBenchError("parquet files need pyarrow: pip install 'ltbench[parquet]'") from None
    try:
        if isinstance(source, io.BytesIO):
            refuse_twins(parquet.read_schema(source).names)
        frame = pd.read_parquet(source)
    except (ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise LTBenchError(line(error)) from None
    return whole(frame)


def _of_text(text: str, dialect: Dialect) -> WholeTable:
    import pandas as pd

    names, rows, separator = delimited.grid(text, dialect.separator, dialect.header)
    refuse_twins(names)
    columns, words, notes = {}, {}, Notes()
    for k, name in enumerate(names):
        fields = [row[k].strip() for row in rows]
        plain = plain_numbers(fields)
        if plain is not None:
            columns[name], words[name] = pd.Series(plain[0]), plain[1]
            notes.add(_twice(fields, plain[0]), name)
            continue
        columns[name], told = tidied(pd.Series([row[k] for row in rows], dtype=object))
        notes.add(told, name)
        words[name] = columns[name].dropna().unique()
    decimal, usual = decimals(words, separator, dialect.decimal or "")
    for name, column in columns.items():
        read = numbers(column, decimal[name]) if decimal[name] and of_words(column) else None
        if read is not None:
            columns[name], how = read
            notes.add(how and f"read as numbers {how}", name)
    return whole(pd.DataFrame(columns), notes=notes.lines(), separator=separator, decimal=usual)


def _twice(words: Sequence[str], numbers: Sequence[float]) -> str:
    """What is to be told of a few numbers one of which is written in several ways, as 1 and 1.0."""
    few, ways = {number for number in numbers if number == number}, {*words} - {""}
    return "with one number written in several ways" if len(few) < len(ways) <= FEW_WAYS else ""


def refuse_twins(names: Sequence[str]) -> None:
    """Refuses two columns of one name."""
    for k, name in enumerate(names):
        if name in names[:k]:
            raise LTBenchError(f"it has two columns called {name!r}; rename one of them")


def line(error: Exception) -> str:
    """What an error says, in a line."""
    from textwrap import shorten

    return shorten(str(error), 120) or type(error).__name__


def fingerprint(frame: "pd.DataFrame") -> str:
    """A hash of every name and value; numbers count as such, whatever type they are kept in."""
    digest = hashlib.sha256()
    for name in frame.columns:
        column = frame[name]
        if of_numbers(column):
            values = column.to_numpy(dtype=np.float64, na_value=np.nan).tobytes()
        else:
            missing = column.isna()
            words = ("\1" if gap else str(v) for v, gap in zip(column, missing, strict=True))
            values = "\0".join(words).encode()
        digest.update(f"{name}\0{len(column)}\0".encode() + values)
    return digest.hexdigest()[:16]
