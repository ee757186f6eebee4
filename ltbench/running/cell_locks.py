"""Claims: which run has a cell in hand, so that two on one folder share the work."""

import hashlib
from pathlib import Path

from filelock import FileLock, Timeout

from ltbench.errors import LTBenchError
from ltbench.running.cell import Cell


class Claims:
    """Locks on the cells of a protocol, one file each; they end with the process that holds them.

    Raises:
        LTBenchError: the folder of the locks cannot be made.
    """

    def __init__(self, results: Path, protocol: str) -> None:
        self.folder = results / protocol / ".locks"
        self._held: dict[str, FileLock] = {}

    def take(self, cell: Cell) -> bool:
        """Whether the cell is now this run's alone."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / _name(cell), blocking=False, thread_local=False)
            lock.acquire()
        except Timeout:
            return False
        except OSError as error:
            raise LTBenchError(f"{self.folder} cannot be written: {error.strerror}") from None
        self._held[_name(cell)] = lock
        return True

    def release(self, cell: Cell) -> None:
        """Gives a cell back; its file stays, as another run may be waiting at it."""
        self._held.pop(_name(cell)).release()

    def taken(self, cell: Cell) -> bool:
        """Whether some other run has the cell in hand at this moment."""
        if not (self.folder / _name(cell)).exists():
            return False
        if not self.take(cell):
            return True
        self.release(cell)
        return False


def _name(cell: Cell) -> str:
    told = f"{cell.recipe.text}\0{cell.table}\0{cell.seed}"
    return hashlib.sha256(told.encode()).hexdigest()[:20] + ".lock"
