"""Records: what one cell yielded, in one JSON file, written whole or not at all."""

import hashlib
import io
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
import numpy as np
from msgspec import Meta, Struct, structs
from numpy.typing import NDArray

from ltbench.errors import LTBenchError

Scores = dict[str, float | None]
Folder = Annotated[str, Meta(pattern=r"^[a-z0-9]*(-[a-z0-9]+)*$")]  # it cannot lead elsewhere
Status = Literal["ok", "failed", "timeout", "out-of-memory", "skipped"]


Seconds = Annotated[float, Meta(ge=0, le=1e9)]  # thirty years
Times = Annotated[float, Meta(ge=0, le=1e6)]


class Timing(Struct, frozen=True, forbid_unknown_fields=True):
    """What a cell cost; a record that tells of less than nothing, or of absurdly much, is none.

    `seconds` of preparation and training, and the seconds of `work` in them (of the processor, on a
    CPU); `reference_work` that plain training takes, measured just before and after in the same
    process; `relative` the ratio of work; `passes` the rows whose gradient was computed, over those
    of plain training; `peak_memory_mb` above the idle process.
    """

    seconds: Seconds
    work: Seconds
    reference_work: Annotated[float, Meta(gt=0, le=1e9)]
    relative: Times
    passes: Times
    peak_memory_mb: Annotated[float, Meta(ge=0, le=1e9)]


class Origin(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The code of one method: its package, version, and a digest of what its source says.

    `imported` is a digest of the files of its own package that it imports, `core` of the modules of
    ltbench; empty where there are none, and in records older than these fields. None changes with a
    docstring, a comment, or the place of a file (`ltbench.registry.code`).
    """

    package: str
    version: str
    source: str
    imported: str = ""
    core: str = ""

    def made_by(self, now: "Origin") -> bool:
        """Whether code that is there now made this, as far as is told."""
        told = {name: "" for name in ("imported", "core") if not getattr(self, name)}
        return self == structs.replace(now, **told)


def same_code(made: Mapping[str, Origin], now: Mapping[str, Origin]) -> bool:
    """Whether methods are of the same code, as far as `made` tells of theirs."""
    return made.keys() == now.keys() and all(
        origin.made_by(now[name]) for name, origin in made.items()
    )


def cell_name(recipe: str, seed: int, table: str = "") -> str:
    return f"{recipe} on {table} seed {seed}" if table else f"{recipe} seed {seed}"


class Record(
    Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    omit_defaults=True,
    tag_field="form",
    tag=2,
):
    """What one cell yielded and where that came from.

    `measures` are those that its track declares, `details` what the track keeps for itself; `table`
    names one of several tables of a protocol. `arrays` is a hash of the file beside it. `control`
    tells that the cell stands outside of what is ranked, `continued` how often it went on from a
    checkpoint, `stage` from which shared first stage, if from any; its cost is told as if it had
    trained that itself. `digest` covers all other fields that are not at their defaults; a record
    whose digest does not fit was changed by hand. `form` 2 is this one; `ltbench migrate` carries
    over what is of an earlier one.
    """

    protocol: Folder
    version: int
    hash: str
    track: str
    fingerprint: str
    recipe: str
    parameters: dict[str, dict[str, Any]]
    plugins: dict[str, Origin]
    seed: int
    status: Status
    environment: dict[str, Any]
    table: Folder = ""
    reason: str = ""
    notes: list[str] = []
    measures: Scores = {}
    transductive: Scores | None = None
    recall: list[float | None] = []
    class_counts: list[int] = []
    timing: Timing | None = None
    control: bool = False
    continued: int = 0
    stage: str = ""
    details: dict[str, Any] = {}
    arrays: str = ""
    digest: str = ""

    def __str__(self) -> str:
        return cell_name(self.recipe, self.seed, self.table)

    def __repr__(self) -> str:
        found = ((name, value) for name, value in self.measures.items() if value is not None)
        told = next((f", {name} {value:.4g}" for name, value in found), "")
        return f"<Record of {self.protocol}: {self}, {self.status}{told}>"

    def sealed(self) -> "Record":
        """The record as its file gives it back, with the digest of that."""
        again = _DECODER.decode(msgspec.json.encode(self))
        return structs.replace(again, digest=again.computed_digest())

    def computed_digest(self) -> str:
        encoded = msgspec.json.encode(structs.replace(self, digest=""), order="sorted")
        return hashlib.sha256(encoded).hexdigest()[:16]


@dataclass(frozen=True)
class Rejected:
    """A file among the records that is not aggregated, and why; one of an `earlier` form can be."""

    path: Path
    reason: str
    earlier: bool = False

    def __str__(self) -> str:
        return f"{self.path} is left in place, not counted: {self.reason}"


def folder_of(recipe: str) -> str:
    """The folder name of a recipe; letters that a file system may refuse are escaped."""
    name = quote(recipe, safe="+(),=")
    if not name.strip("."):  # no recipe is called so, but a record may tell of one
        return name.replace(".", "%2E") or "%"
    if len(name) <= 200:
        return name
    return f"{name[:180]}~{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"


def path_of(results: Path, protocol: str, recipe: str, seed: int, table: str = "") -> Path:
    return results / protocol / "records" / folder_of(recipe) / f"{file_of(seed, table)}.json"


def file_of(seed: int, table: str = "") -> str:
    """The name of a record's file in the folder of its recipe, without an ending."""
    return f"{table}-seed-{seed}" if table else f"seed-{seed}"


def place_of(results: Path, record: Record) -> Path:
    return path_of(results, record.protocol, record.recipe, record.seed, record.table)


def write(results: Path, record: Record, arrays: Mapping[str, NDArray[Any]] | None) -> Record:
    """Writes a record and its arrays, and returns the record as written.

    The record comes last and stands for both.

    Raises:
        LTBenchError: the folder cannot be written.
    """
    path = place_of(results, record)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        contents = {}
        if arrays is not None:
            packed = io.BytesIO()
            np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
            contents[path.with_suffix(".npz")] = packed.getvalue()
            record = structs.replace(record, arrays=_hash_of(packed.getvalue()))
        record = record.sealed()
        _write_whole({**contents, path: encoded(record)})
        if arrays is None:
            path.with_suffix(".npz").unlink(missing_ok=True)
        return record
    except OSError as error:
        raise LTBenchError(f"{path} cannot be written: {error.strerror}") from None


def encoded(record: Record) -> bytes:
    """A record as its file has it."""
    return msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"


def require_writable(folder: Path) -> None:
    """Makes sure, before any work is done, that records can be written below a folder.

    Raises:
        LTBenchError: they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise LTBenchError(f"results folder {folder} cannot be written: {error.strerror}") from None


def write_text(path: Path, text: str) -> None:
    """Writes a text whole or not at all.

    Raises:
        LTBenchError: the folder cannot be written.
    """
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes bytes whole or not at all.

    Raises:
        LTBenchError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_whole({path: content})
    except OSError as error:
        raise LTBenchError(f"{path} cannot be written: {error.strerror}") from None


def _write_whole(contents: dict[Path, bytes]) -> None:
    """Writes beside the paths and then moves each there at once; moves none if one fails."""
    beside: dict[Path, Path] = {}
    try:
        for path, content in contents.items():
            descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            beside[path] = Path(name)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
        for path, written in beside.items():
            os.replace(written, path)
    except BaseException:
        for written in beside.values():
            written.unlink(missing_ok=True)
        raise


def _hash_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def read(path: Path) -> Record | Rejected:
    """The record in a file, or why it is none that can be counted."""
    try:
        content = path.read_bytes()
        record = _DECODER.decode(content)
    except OSError as error:
        return Rejected(path, f"it cannot be read ({error.strerror})")
    except msgspec.ValidationError as error:
        if is_earlier(content):
            mend = f"ltbench migrate {path.parent.parent.parent.parent} carries it over"
            return Rejected(path, f"it is of an earlier form; {mend}", earlier=True)
        return Rejected(path, f"it is no record ({str(error).replace('`', '')})")
    except UNREADABLE:
        return Rejected(path, "it is truncated or not JSON")
    if record.digest != record.computed_digest():
        return Rejected(path, "its digest does not fit; it was changed by hand")
    place = (folder_of(record.recipe), f"{file_of(record.seed, record.table)}.json")
    if (path.parent.name, path.name) != place:
        return Rejected(path, f"it is a record of {record}")
    return record


class _Earlier(Struct):
    metrics: Any
    digest: str


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_DECODER, _EARLIER = msgspec.json.Decoder(Record), msgspec.json.Decoder(_Earlier)


def is_earlier(content: bytes) -> bool:
    """Whether this is a record of an earlier form."""
    try:
        return bool(_EARLIER.decode(content).digest)
    except UNREADABLE:
        return False


def read_all(results: Path, protocol: str, track: str = "") -> Iterator[Record | Rejected]:
    """Every record of a protocol, and of its track, in order of recipe and file name."""
    folder = results / protocol / "records"
    for path in sorted(folder.glob("*/*.json")):
        yield read_of(path, protocol, track)


def read_of(path: Path, protocol: str, track: str = "") -> Record | Rejected:
    """The record in a file, if it is one of the protocol, and of its track where that is told."""
    record = read(path)
    if isinstance(record, Record) and record.protocol != protocol:
        return Rejected(path, f"it is a record of protocol {record.protocol}")
    if isinstance(record, Record) and track not in ("", record.track):
        return Rejected(path, f"it is a record of track {record.track}, not of {track}")
    return record


def is_whole(results: Path, record: Record) -> bool:
    """Whether the arrays beside a record are its own, as they are not where its replacement was cut
    off in the middle; they may stand elsewhere.
    """
    path = place_of(results, record).with_suffix(".npz")
    return not (record.arrays and path.exists()) or _hash_of(path.read_bytes()) == record.arrays


def arrays_of(results: Path, record: Record) -> dict[str, NDArray[Any]]:
    """The arrays beside a record; of a classifier labels, predicted and confidence, each [N].

    Raises:
        LTBenchError: the file is missing or is not the one that the record was written with.
    """
    path = place_of(results, record).with_suffix(".npz")
    if not path.exists() or _hash_of(path.read_bytes()) != record.arrays:
        raise LTBenchError(f"{path} is missing or not the file that its record was written with")
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
