"""Cells in processes that are started anew, where this one cannot be forked."""

import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ltbench.errors import LTBenchError
from ltbench.registry.registry import Registry
from ltbench.results import records
from ltbench.results.records import Record
from ltbench.running import processes
from ltbench.running.cell import Cell, run_cell
from ltbench.running.cluster import Task, unpacked
from ltbench.running.processes import Limits, Worker, tell
from ltbench.training import events
from ltbench.training.checkpoints import Checkpoint

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


@dataclass(frozen=True)
class Sent:
    """A cell as it is sent to a process that knows nothing of it yet.

    `files` are the single files with methods, `source` the pickled data, `checkpoint` the file and
    the key of where it is kept while it runs; `told` says that somebody listens.
    """

    task: Task
    files: tuple[Path, ...]
    results: Path
    checkpoint: tuple[Path | None, str]
    fresh: bool
    told: bool
    source: bytes = field(repr=False)


def sendable(cells: Sequence[Cell]) -> bool:
    """Whether cells can be sent: methods that were handed over as objects cannot."""
    return not any(one.package == "object" for cell in cells for one in cell.origins.values())


class Spawned(Worker):
    """A process of its own for one cell, as `Worker`, but started anew, which takes seconds.

    Of what it has started only itself is killed, and its memory is not limited.
    """

    def __init__(self, sent: Sent, limits: Limits, scratch: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.limits, self.parent = limits, os.getpid()
        handle, place = tempfile.mkstemp(dir=scratch)
        os.close(handle)
        self.printed = open(place, "r+b")  # noqa: SIM115, it lives as long as the worker
        self.answer, sender = context.Pipe(duplex=False)
        self.process: Any = context.Process(target=_run, args=(sent, place, sender), daemon=True)
        with _without_main():
            self.process.start()
        self.started = time.monotonic()
        sender.close()

    def kill(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.join()


@contextmanager
def _without_main() -> Iterator[None]:
    """Keeps a script from being run once more by the process that is started, for its own sake."""
    main = sys.modules["__main__"]
    told = vars(main)
    before: dict[str, Any] = {one: told[one] for one in ("__file__", "__spec__") if one in told}
    told.pop("__file__", None)
    told["__spec__"] = None
    try:
        yield
    finally:
        told.update(before)


def _run(sent: Sent, printed: str, sender: "Connection[Any, Any]") -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    processes.speak_to(sender)
    with open(printed, "wb", buffering=0) as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    sys.stdout = sys.stderr = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sender.send(_made(sent))


def _made(sent: Sent) -> Record | LTBenchError:
    """The record of a cell, which is written, or why none could be made."""
    path, key = sent.checkpoint
    checkpoint = Checkpoint(path, lambda: key)
    if sent.fresh:
        checkpoint.drop()
    try:
        cell = unpacked(sent.task, Registry(sent.files))
        device = torch.device(sent.task.device)
        with events.heard_by(tell if sent.told else None):
            source = pickle.loads(sent.source)
            record, arrays = run_cell(cell, source, device, checkpoint, sent.task.shares)
        record = records.write(sent.results, record, arrays)
    except LTBenchError as error:
        return error
    checkpoint.drop()
    return record
