"""What a path of a user's own holds, whatever its name ends with."""

import zipfile
from pathlib import Path

from ltbench.datasets.folders import LISTED
from ltbench.errors import LTBenchError
from ltbench.texts import readable

PICTURES = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"BM": "a BMP image",
    b"II*\0": "a TIFF image",
    b"MM\0*": "a TIFF image",
}
"""Single images, by how they begin."""

TRAIN = "train.txt"


def source_of(path: Path) -> Path:
    """The path to read for one that a user names: of a list file the folder that it stands in.

    Raises:
        LTBenchError: there is nothing, or its name's ending tells something else than it holds.
    """
    called = readable(str(path))
    if not path.exists():
        raise LTBenchError(f"data {called} does not exist")
    if path.is_dir():
        return path
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError as error:
        raise LTBenchError(f"data {called} cannot be read: {error.strerror}") from None
    kind = next((kind for begin, kind in PICTURES.items() if start.startswith(begin)), None)
    if kind is not None:
        raise LTBenchError(f"data {called} is {kind}; name the folder that holds a folder a class")
    if not start.strip():
        raise LTBenchError(f"data {called} is empty")
    if start.startswith(b"PAR1") and path.suffix.casefold() != ".parquet":
        raise LTBenchError(f"data {called} is a parquet file; call it {path.stem}.parquet")
    if start.startswith(b"PK\3\4") and path.suffix.casefold() != ".npz" and _holds_arrays(path):
        raise LTBenchError(f"data {called} is an .npz file; call it {path.stem}.npz")
    return path.parent if _is_list(path, start) else path


def _holds_arrays(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as packed:
            return all(name.endswith(".npy") for name in packed.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _is_list(path: Path, start: bytes) -> bool:
    """Whether a text names images with their labels.

    Raises:
        LTBenchError: it does, but is not called as the list of a split.
    """
    first = start.decode("utf-8", "replace").partition("\n")[0].strip()
    match = LISTED.fullmatch(first)
    if match is None or not (path.parent / match["place"]).is_file():
        return False
    if path.name.casefold() != TRAIN:
        raise LTBenchError(f"data {readable(str(path))} is a list of images; call it {TRAIN}")
    return True
