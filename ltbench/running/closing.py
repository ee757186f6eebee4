"""Folders that a process can no longer open, by the kernel's Landlock, where it has that."""

import ctypes
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

CREATE, ADD, RESTRICT = 444, 445, 446  # landlock_create_ruleset, _add_rule, _restrict_self
VERSION, BENEATH = 1, 1  # LANDLOCK_CREATE_RULESET_VERSION, LANDLOCK_RULE_PATH_BENEATH
NO_NEW_PRIVILEGES = 38  # PR_SET_NO_NEW_PRIVS of prctl(2)
WRITE_FILE, READ_FILE = 1 << 1, 1 << 2
REMOVE_FILE, MAKE_FILE, MAKE_LINK = 1 << 5, 1 << 8, 1 << 12
REFER, TRUNCATE = 1 << 13, 1 << 14
OF_FILES = WRITE_FILE | READ_FILE | TRUNCATE
SIGNALS_WITHIN = 1 << 1  # LANDLOCK_SCOPE_SIGNAL


class _Ruleset(ctypes.Structure):
    _fields_ = [("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def version() -> int:
    """Which Landlock the kernel has; 0 for none, and on other systems."""
    if sys.platform != "linux":
        return 0
    return max(0, int(ctypes.CDLL(None).syscall(CREATE, None, ctypes.c_size_t(0), VERSION)))


class Closed:
    """Folders and files that a process closes to itself and to all that it starts, for good.

    What stands in them cannot be read, written, removed or replaced, nor, where the kernel knows
    that, can a signal be sent to processes outside. In a folder above one of them no file can be
    made. `open_again` stand within them, and stay open. The memory of processes outside cannot be
    read, even if nothing else is closed. `works` is false where there is no Landlock: then all
    stays open.
    """

    def __init__(self, paths: Iterable[Path], open_again: Iterable[Path] = ()) -> None:
        self.rules = -1
        known = version()
        if not known:
            return
        self.handled = WRITE_FILE | READ_FILE | REMOVE_FILE | MAKE_FILE | MAKE_LINK
        self.handled |= (REFER if known >= 2 else 0) | (TRUNCATE if known >= 3 else 0)
        shut = {Path(os.path.realpath(path)) for path in paths}
        asked = _Ruleset(self.handled, 0, SIGNALS_WITHIN if known >= 6 and shut else 0)
        size = 24 if known >= 6 else 16 if known >= 4 else 8
        self._call = ctypes.CDLL(None, use_errno=True).syscall
        rules = self._call(CREATE, ctypes.byref(asked), ctypes.c_size_t(size), 0)
        if rules < 0:
            return
        for path in (*_beside(shut), *(p for p in open_again if p.is_dir())):
            self._allow(rules, path)
        self.rules = rules

    @property
    def works(self) -> bool:
        return self.rules >= 0

    def _allow(self, rules: int, path: Path) -> None:
        with suppress(OSError):  # what cannot be opened stays closed
            place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                told = self.handled if path.is_dir() else self.handled & OF_FILES
                rule = _Beneath(told, place)
                self._call(ADD, rules, BENEATH, ctypes.byref(rule), 0)
            finally:
                os.close(place)

    def apply(self) -> None:
        """Closes them to this process.

        Raises:
            OSError: the kernel refuses.
        """
        if not self.works:
            return
        ctypes.CDLL(None).prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        if self._call(RESTRICT, self.rules, 0) != 0:
            raise OSError(ctypes.get_errno(), "Landlock cannot be applied")

    def close(self) -> None:
        """Gives back what holds the rules; a process that applied them stays as it is."""
        if self.works:
            os.close(self.rules)
            self.rules = -1


def _beside(shut: set[Path], folder: Path = Path("/")) -> Iterator[Path]:
    """What stands beside paths, all the way down from the root; links lead to what has its own."""
    if folder in shut:
        return
    if not any(path.is_relative_to(folder) for path in shut):
        yield folder
        return
    try:
        entries = [(entry.name, entry.is_symlink()) for entry in os.scandir(folder)]
    except OSError:
        return
    for name, is_link in entries:
        if not is_link:
            yield from _beside(shut, folder / name)
