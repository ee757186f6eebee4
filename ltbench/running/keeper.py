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
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch
from msgspec import Struct, structs

from ltbench.contract.track import Answer, Asked, Divided, Sheet, Track
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.results import records
from ltbench.results.records import Record
from ltbench.running.answers import refuse_unfit, unpacked
from ltbench.running.cell import Cell, recorded
from ltbench.running.processes import Died, Limits, Worker
from ltbench.texts import line
from ltbench.training.failures import named

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
    """A worker's place: its own ends of pipes to the keeper, one for each part of the cell that has
    a process of its own, and where its record comes from."""

    desks: list[Any]
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
        device: torch.device,
    ) -> None:
        self.load, self.sheets = load, track.sheets
        context = multiprocessing.get_context("fork")
        self.control, theirs = context.Pipe(duplex=True)
        work = _Desk(track, protocol, load, device, theirs, self.control)
        self.worker = Worker(work.run, Limits())
        theirs.close()
        self._finalizer = weakref.finalize(self, _end, self.worker, os.getpid())
        told = self._reply()
        self.told: dict[str, Held | LTBenchError] = told

    def seconds(self, table: str, device: torch.device) -> float:
        """About what a plain cell takes."""
        self._send(Request("seconds", table, str(device)))
        return float(self._reply())

    def seat(self, cell: Cell, template: Record, results: Path) -> Seat:
        """A place for the worker of a cell, whose record is written under `results`."""
        context = multiprocessing.get_context("fork")
        desks, its_ends = zip(*(context.Pipe(duplex=True) for _ in range(self.sheets)), strict=True)
        result, its_result = context.Pipe(duplex=False)
        needs = sorted(cell.recipe.all_needs)
        content = msgspec.msgpack.encode(template)
        self._send(
            Request("seat", cell.table, "cpu", cell.seed, needs, os.path.abspath(results), content)
        )
        for end in (*its_ends, its_result):
            reduction.send_handle(self.control, end.fileno(), self.worker.process.pid)
            end.close()
        return Seat([*desks], result)

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


def _told(source: Any) -> Held | LTBenchError:
    if isinstance(source, LTBenchError):
        return source
    return Held(source.fingerprint, tuple(getattr(source, "notes", ())))


class _Desk:
    """The keeper's own side: reads the data, then serves requests and workers, each in a thread."""

    def __init__(
        self,
        track: Track[Any],
        protocol: Protocol,
        load: Callable[[], Mapping[str, Any]],
        device: torch.device,
        control: Any,
        other: Any,
    ) -> None:
        self.track, self.protocol, self.load, self.device = track, protocol, load, device
        self.control, self.other = control, other
        self.alone = threading.Lock()  # one thread computes at a time, others wait for workers

    def run(self) -> None:
        self.other.close()
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(NOT_DUMPABLE, 0, 0, 0, 0)
        torch.set_num_threads(self.protocol.compute.threads)
        try:
            self.sources = dict(self.load())
            self.track.plan(self.protocol, self.sources, self.device)
        except LTBenchError as error:
            self.control.send(error)
            return
        self.control.send({table: _told(source) for table, source in self.sources.items()})
        while True:
            try:
                request = msgspec.msgpack.decode(self.control.recv_bytes(), type=Request)
            except EOFError:
                return
            if request.what == "seconds":
                self.control.send(self._seconds(request))
                continue
            ends = [reduction.recv_handle(self.control) for _ in range(self.track.sheets + 1)]
            threading.Thread(target=self._seated, args=(request, *ends), daemon=True).start()

    def _seconds(self, request: Request) -> float | LTBenchError:
        try:
            source = self.sources[request.table]
            return self.track.seconds(self.protocol, source, torch.device(request.device))
        except LTBenchError as error:
            return error

    def _seated(self, request: Request, *ends: int) -> None:
        """Serves one worker; without its answer nothing is said, as it has died."""
        with ExitStack() as open_:
            desks = [open_.enter_context(Connection(end)) for end in ends[:-1]]
            result = open_.enter_context(Connection(ends[-1], readable=False))
            try:
                result.send(self._served(request, desks))
            except (EOFError, OSError):
                return

    def _served(self, request: Request, desks: list[Pipe]) -> Record | LTBenchError:
        record = msgspec.msgpack.decode(request.record, type=Record)
        results = Path(request.results)
        source = self.sources[request.table]
        needs = frozenset(request.needs)
        divided: Divided | None = None
        refusal = source if isinstance(source, LTBenchError) else None
        if refusal is None:
            try:
                with self.alone:
                    divided = self.track.divide(self.protocol, request.seed, source, needs)
                assert divided is not None
            except LTBenchError as error:
                refusal = error
        sheets = None if divided is None else divided.sheets
        said = [
            self._sat(desk, refusal if sheets is None else sheets[k])
            for k, desk in enumerate(desks)
        ]
        with self.alone:
            done, arrays = self._marked(record, divided, said, list(getattr(source, "notes", ())))
            try:
                return records.write(results, done, arrays)
            except LTBenchError as error:
                return error

    def _sat(self, desk: Pipe, sheet: Sheet | LTBenchError | None) -> bytes:
        """What a worker says in the end that is given a sheet, or why there is none."""
        given = sheet.given if isinstance(sheet, Sheet) else sheet
        desk.send_bytes(pickle.dumps(given, protocol=5))
        said = desk.recv_bytes()
        while said == ASKS:
            assert isinstance(sheet, Sheet)
            with self.alone:
                asked = pickle.dumps(sheet.ask(), protocol=5)
            desk.send_bytes(asked)
            said = desk.recv_bytes()
        return said

    def _marked(
        self, record: Record, divided: Divided | None, contents: list[bytes], notes: list[str]
    ) -> tuple[Record, Any]:
        """The record of what a worker said, and its arrays."""
        try:
            answers: list[Answer] = []
            for said, answer in map(unpacked, contents):
                told = {**record.environment, **said.environment}
                told["code"] = record.environment["code"]
                record = structs.replace(record, environment=told)
                if answer is None or divided is None:
                    return structs.replace(record, status=said.status, reason=said.reason), None
                answers.append(answer)
            assert divided is not None
            for sheet, answer in zip(divided.sheets, answers, strict=True):
                refuse_unfit(answer, len(sheet.ask().inputs), divided.classes, divided.networks)
            outcome = divided.mark(*answers)
            return recorded(self.track, self.protocol, record, outcome, notes)
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
