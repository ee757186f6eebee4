"""The answer key: a process that holds the data, runs no method, and marks what others answer.

It is forked before any data are read and any method is made. Workers come of the process that
forked it, which never holds the data. Each is given what it trains on, and once it has trained it
asks for test inputs; what it answers is read as data, marked here, and written here.
"""

import ctypes
import multiprocessing
import os
import pickle
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch
from msgspec import Struct, structs

from ltbench.contract.track import Asked, Divided, Track
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.results import records
from ltbench.results.records import Record
from ltbench.running.answers import refuse_unfit, unpacked
from ltbench.running.cell import Cell, recorded
from ltbench.running.processes import Died, Limits, Worker
from ltbench.texts import line
from ltbench.training.failures import named

CPU = torch.device("cpu")
NOT_DUMPABLE = 4  # PR_SET_DUMPABLE of prctl(2): its memory is not another's to read
MOST_WORDS = 2**16  # bytes that a worker says at a time before it answers
ASKS = b""

Pipe = Connection  # of two ends that both read and write


class Request(Struct, frozen=True):
    """What is asked of the keeper: the time that a plain cell takes, or to seat a worker."""

    what: Literal["seconds", "seat"]
    table: str
    device: str = "cpu"
    seed: int = 0
    needs: list[str] = []
    results: str = ""
    record: bytes = b""


@dataclass(frozen=True)
class Held:
    """What is told of data that a keeper holds."""

    fingerprint: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seat:
    """A worker's place: its own end of a pipe to the keeper, and where its record comes from."""

    desk: Any
    result: Any


class Keeper:
    """Holds the data of a protocol, from `load`, in a process of its own; `told` tells of them.

    Raises:
        LTBenchError: they cannot be had, or do not fit the protocol.
    """

    def __init__(
        self,
        track: Track[Any],
        protocol: Protocol,
        load: Callable[[], Mapping[str, Any]],
    ) -> None:
        self.load = load
        context = multiprocessing.get_context("fork")
        self.control, theirs = context.Pipe(duplex=True)
        work = _Desk(track, protocol, load, theirs, self.control)
        self.worker = Worker(work.run, Limits())
        theirs.close()
        self._finalizer = weakref.finalize(self, _end, self.worker, os.getpid())
        told = self._reply()
        self.told: dict[str, Held] = told

    def seconds(self, table: str, device: torch.device) -> float:
        """About what a plain cell takes."""
        self._send(Request("seconds", table, str(device)))
        return float(self._reply())

    def seat(self, cell: Cell, template: Record, results: Path) -> Seat:
        """A place for the worker of a cell, whose record is written under `results`."""
        context = multiprocessing.get_context("fork")
        desk, its_end = context.Pipe(duplex=True)
        result, its_result = context.Pipe(duplex=False)
        needs = sorted(cell.recipe.all_needs)
        content = msgspec.msgpack.encode(template)
        self._send(
            Request("seat", cell.table, "cpu", cell.seed, needs, os.path.abspath(results), content)
        )
        for end in (its_end, its_result):
            reduction.send_handle(self.control, end.fileno(), self.worker.process.pid)
            end.close()
        return Seat(desk, result)

    def end(self) -> None:
        """Ends its process."""
        self._finalizer()

    def _send(self, request: Request) -> None:
        try:
            self.control.send_bytes(msgspec.msgpack.encode(request))
        except OSError:
            raise self._gone() from None

    def _reply(self) -> Any:
        try:
            told = self.control.recv()
        except (EOFError, OSError):
            raise self._gone() from None
        if isinstance(told, LTBenchError):
            self.end()
            raise told
        return told

    def _gone(self) -> LTBenchError:
        return LTBenchError(f"what holds the data is gone: {self.worker.death()}")


def _end(worker: Worker, owner: int) -> None:
    if os.getpid() == owner:  # and not in a worker that was forked from it
        worker.kill()


class _Desk:
    """The keeper's own side: reads the data, then serves requests and workers, each in a thread."""

    def __init__(
        self,
        track: Track[Any],
        protocol: Protocol,
        load: Callable[[], Mapping[str, Any]],
        control: Any,
        other: Any,
    ) -> None:
        self.track, self.protocol, self.load = track, protocol, load
        self.control, self.other = control, other
        self.alone = threading.Lock()  # one thread computes at a time, others wait for workers

    def run(self) -> None:
        self.other.close()
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(NOT_DUMPABLE, 0, 0, 0, 0)
        torch.set_num_threads(self.protocol.compute.threads)
        try:
            self.sources = dict(self.load())
            self.track.plan(self.protocol, self.sources, CPU)
        except LTBenchError as error:
            self.control.send(error)
            return
        self.control.send(
            {
                table: Held(source.fingerprint, tuple(getattr(source, "notes", ())))
                for table, source in self.sources.items()
            }
        )
        while True:
            try:
                request = msgspec.msgpack.decode(self.control.recv_bytes(), type=Request)
            except EOFError:
                return
            if request.what == "seconds":
                self.control.send(self._seconds(request))
                continue
            ends = [reduction.recv_handle(self.control) for _ in range(2)]
            threading.Thread(target=self._seated, args=(request, *ends), daemon=True).start()

    def _seconds(self, request: Request) -> float | LTBenchError:
        try:
            source = self.sources[request.table]
            return self.track.seconds(self.protocol, source, torch.device(request.device))
        except LTBenchError as error:
            return error

    def _seated(self, request: Request, desk_end: int, result_end: int) -> None:
        """Serves one worker; without its answer nothing is said, as it has died."""
        with Connection(desk_end) as desk, Connection(result_end, readable=False) as result:
            try:
                result.send(self._served(request, desk))
            except (EOFError, OSError):
                return

    def _served(self, request: Request, desk: Any) -> Record | LTBenchError:
        record = msgspec.msgpack.decode(request.record, type=Record)
        results = Path(request.results)
        source = self.sources[request.table]
        needs = frozenset(request.needs)
        try:
            with self.alone:
                divided = self.track.divide(self.protocol, request.seed, source, needs)
            assert divided is not None
            given: Any = divided.given
        except LTBenchError as error:
            divided, given = None, error
        desk.send_bytes(pickle.dumps(given, protocol=5))
        said = desk.recv_bytes()
        while said == ASKS:
            assert divided is not None
            with self.alone:
                asked = pickle.dumps(divided.ask(), protocol=5)
            desk.send_bytes(asked)
            said = desk.recv_bytes()
        with self.alone:
            done, arrays = self._marked(record, divided, said, list(getattr(source, "notes", ())))
            try:
                return records.write(results, done, arrays)
            except LTBenchError as error:
                return error

    def _marked(
        self, record: Record, divided: Divided | None, content: bytes, notes: list[str]
    ) -> tuple[Record, Any]:
        """The record of what a worker said, and its arrays."""
        try:
            said, answer = unpacked(content)
            told = {**record.environment, **said.environment, "code": record.environment["code"]}
            record = structs.replace(record, environment=told)
            if answer is None or divided is None:
                return structs.replace(record, status=said.status, reason=said.reason), None
            rows = len(divided.ask().inputs)
            refuse_unfit(answer, rows, divided.classes, divided.networks)
            outcome = divided.mark(answer)
            return recorded(self.track, record, outcome, notes)
        except LTBenchError as error:
            return structs.replace(record, status="failed", reason=line(error)), None
        # What a stranger's method answers may break anything at all; that costs its own cell.
        except Exception as error:
            return structs.replace(record, status="failed", reason=named(error)), None


def sit(desk: Any) -> tuple[Any, Callable[[], Asked]]:
    """From within a worker: what it is given, and what asks for test inputs.

    Raises:
        LTBenchError: the cell cannot be run on these data.
        Died: the keeper is gone.
    """

    def read() -> Any:
        try:
            return pickle.loads(desk.recv_bytes())
        except (EOFError, OSError):
            raise Died("failed", "what holds the data is gone") from None

    def ask() -> Asked:
        desk.send_bytes(ASKS)
        told: Asked = read()
        return told

    given = read()
    if isinstance(given, LTBenchError):
        raise given
    return given, ask
