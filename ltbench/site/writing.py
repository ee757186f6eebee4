"""A site is put in the place of the earlier one at once, or the earlier one stays."""

import ctypes
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from ltbench.errors import LTBenchError

MARK = "site.json"  # which tells that a folder is a site, and of which files
EXCHANGE, HERE = 2, -100  # of Linux: RENAME_EXCHANGE, AT_FDCWD


class Mark(Struct, frozen=True):
    """What a site consists of."""

    made_by: str
    files: list[str]


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes a site whole, in the place of an earlier one if there is one.

    Raises:
        LTBenchError: the folder holds something else, or cannot be written.
    """
    place = Path(os.path.realpath(folder))
    refuse(folder)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _clear(place)
        made = Path(tempfile.mkdtemp(prefix=f".{place.name}.{os.getpid()}.", dir=place.parent))
    except OSError as error:
        raise LTBenchError(f"{folder} cannot be written: {error.strerror}") from None
    try:
        marked = Mark("ltbench", sorted([*files, MARK]))
        every = {**files, MARK: msgspec.json.format(msgspec.json.encode(marked), indent=1)}
        for name, content in every.items():
            path = made / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        made.chmod(0o755)
        refuse(folder)  # it may have been filled meanwhile
        _put(made, place)
    except OSError as error:
        raise LTBenchError(f"{folder} cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)


def refuse(folder: Path) -> None:
    """Refuses a folder that holds something else than a site.

    Raises:
        LTBenchError: it does, or it is no folder; nothing was touched.
    """
    place = Path(os.path.realpath(folder))
    try:
        if not os.path.lexists(place):
            return
        if not place.is_dir():
            raise LTBenchError(f"{folder} is no folder; name another one")
        there = sorted(str(p.relative_to(place)) for p in place.rglob("*") if not _is_folder(p))
    except OSError as error:
        raise LTBenchError(f"{folder} cannot be read: {error.strerror}") from None
    if not there:
        return
    try:
        own = msgspec.json.decode((place / MARK).read_bytes(), type=Mark).files
    except (OSError, msgspec.DecodeError):
        raise LTBenchError(
            f"{folder} holds {there[0]} and is no site of ltbench; nothing was written: name an "
            "empty folder, or one that is not there yet"
        ) from None
    foreign = sorted(set(there) - set(own))
    if foreign:
        more = f" and {len(foreign) - 1} more" if foreign[1:] else ""
        raise LTBenchError(
            f"{folder} holds {foreign[0]}{more} beside a site; nothing was written: move that away"
        )


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _put(made: Path, place: Path) -> None:
    """Puts a folder in the place of another, so that at no time there is none."""
    if not place.exists():
        os.rename(made, place)
        return
    if _exchange(made, place):
        return
    earlier = made.with_name(f"{made.name}.earlier")
    os.rename(place, earlier)
    try:
        os.rename(made, place)
    except BaseException:
        os.rename(earlier, place)
        raise
    shutil.rmtree(earlier, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchanges two folders at once, where the system can."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    if rename(HERE, os.fsencode(one), HERE, os.fsencode(other), EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code))


def _clear(place: Path) -> None:
    """Removes what runs that were killed left beside a site."""
    for left in place.parent.glob(f".{place.name}.*"):
        told = re.fullmatch(rf"\.{re.escape(place.name)}\.(\d+)\.\w{{8}}", left.name)
        if told is not None and not _runs(int(told[1])):
            shutil.rmtree(left, ignore_errors=True)


def _runs(process: int) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(process, 0)
        except (ProcessLookupError, OverflowError):
            return False
    return True
