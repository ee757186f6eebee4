"""A process for each cell: forked in milliseconds, held to limits, killed with all it started."""

import ctypes
import faulthandler
import multiprocessing
import os
import pickle
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltbench.errors import LTBenchError

if TYPE_CHECKING:
    from multiprocessing.context import ForkProcess

    import torch

LOOK = 0.1  # seconds between looks at a process that is waited for
LAST_LINES = 5
LAST_LETTERS = 500
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # M_... of mallopt(3)
NEVER, ONE_GB = 2**31 - 1, 2**30
OPENMP = re.compile(r"/\S*/libgomp[^/]*\.so\S*$", re.MULTILINE)
PAUSE_HARD = 2  # omp_pause_hard of OpenMP 5.0


@dataclass(frozen=True)
class Limits:
    """What a cell may take: `timeout` in seconds, `memory` in MB above what it starts with."""

    timeout: float | None = None
    memory: float | None = None

    def __bool__(self) -> bool:
        return self.timeout is not None or self.memory is not None


_sender: "Connection[Any, Any] | None" = None


def tell(message: Any) -> None:
    """From within a worker: sends a message ahead of its answer.

    It must be short, as what fits into one write to a pipe cannot be torn.
    """
    assert _sender is not None
    _sender.send(message)


def tell_bytes(content: bytes) -> None:
    """From within a worker: sends bytes, which are not unpickled where they are read."""
    assert _sender is not None
    _sender.send_bytes(content)


def speak_to(sender: "Connection[Any, Any]") -> None:
    """From within a worker: says where what it tells goes."""
    global _sender
    _sender = sender


class Died(Exception):
    """A process gave no answer; its arguments are the status of its cell, and the reason."""


class Worker:
    """A forked process that sends what `work` returns through `answer`, and nothing if it dies.

    What it prints is kept aside. It leads a process group of its own, is killed when this process
    dies, and cannot allocate more than `limits.memory`.
    """

    def __init__(self, work: Callable[[], Any], limits: Limits) -> None:
        context = multiprocessing.get_context("fork")
        end_openmp()
        self.limits, self.parent = limits, os.getpid()
        self.printed = tempfile.TemporaryFile()  # noqa: SIM115, it lives as long as the worker
        self.answer, sender = context.Pipe(duplex=False)
        self.process: ForkProcess = context.Process(
            target=self._run, args=(work, sender), daemon=True
        )
        self.process.start()
        self.started = time.monotonic()
        sender.close()

    def _run(self, work: Callable[[], Any], sender: "Connection[Any, Any]") -> None:
        speak_to(sender)
        os.setsid()
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != self.parent:
            return  # it died before it was listened to
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
        for stream in (1, 2):
            os.dup2(self.printed.fileno(), stream)
        sys.stdout = sys.stderr = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
        faulthandler.disable()  # its dump would push aside what a method last printed
        if self.limits.memory is not None:
            _limit_memory(self.limits.memory)
        _keep_freed_memory()
        sender.send(work())

    @property
    def overdue(self) -> bool:
        timeout = self.limits.timeout
        return timeout is not None and time.monotonic() - self.started > timeout

    def is_alive(self) -> bool:
        return self.process.is_alive()

    def result(self) -> Any:
        """What `work` returned, once it has; the process is gone afterwards.

        Raises:
            Died: it gave no answer, or took too long.
        """
        try:
            while self.process.is_alive() and not self.answer.poll(LOOK):
                if self.overdue:
                    raise Died("timeout", self.lateness())
            if not self.answer.poll():  # it is dead, but what it started keeps the pipe open
                raise EOFError
            return self.answer.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            raise Died("failed", self.death()) from None
        finally:
            self.kill()

    def kill(self) -> None:
        """Ends the process and all that it has started."""
        try:
            os.killpg(self.process.pid or 0, signal.SIGKILL)
        except ProcessLookupError:
            self.process.kill()  # it has not yet come to lead a group, or is gone
        self.process.join()

    def death(self) -> str:
        """How the process ended without an answer, and its last words."""
        self.process.join()
        code = self.process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return f"its process ended with {how} before the cell was done{self.last_words()}"

    def lateness(self) -> str:
        """Kills the process, and tells after how long and its last words."""
        self.kill()
        return f"killed after {self.limits.timeout:g} s{self.last_words()}"

    def last_words(self) -> str:
        """The last lines that the process printed, in one; empty if it printed nothing."""
        size = self.printed.seek(0, os.SEEK_END)
        self.printed.seek(max(0, size - 10 * LAST_LETTERS))
        text = self.printed.read().decode(errors="replace")
        lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
        last = " / ".join(lines[-LAST_LINES:])[-LAST_LETTERS:]
        return f"; it last printed: {last}" if last else ""


def forked(work: Callable[[], None], closed: Sequence["Connection[Any, Any]"]) -> None:
    """From within a worker: does some work in a process of its own, without the pipes that are
    `closed` to it; where it dies, this one ends as it did."""
    end_openmp()
    parent, process = os.getpid(), os.fork()
    if not process:
        code = 1
        try:
            ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
            if os.getppid() == parent:
                for pipe in closed:
                    pipe.close()
                work()
                code = 0
        except BaseException:
            traceback.print_exc()  # its last words
        finally:
            sys.stdout.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(parent, -code)
    if code:
        os._exit(code)


def apart(work: Callable[[], Any]) -> Any:
    """What `work` returns, made in a process of its own where there can be one, so that nothing it
    reads stays in the memory of this one.

    Raises:
        LTBenchError: `work` did, or its process died.
    """
    if not can_fork():
        return work()

    def caught() -> Any:
        try:
            return work()
        except LTBenchError as error:
            return error

    try:
        done = Worker(caught, Limits()).result()
    except Died as death:
        raise LTBenchError(death.args[1]) from None
    if isinstance(done, LTBenchError):
        raise done
    return done


def can_fork(device: "torch.device | None" = None) -> bool:
    """Whether cells can have forked processes of their own.

    A process with a torch in it may be forked on Linux alone, once the threads of its OpenMP are
    ended, and for a GPU as long as it has not used one itself.
    """
    if sys.platform != "linux" or not end_openmp():
        return False
    if device is None or device.type == "cpu":
        return True
    import torch

    return not torch.cuda.is_initialized()


def end_openmp() -> bool:
    """Ends the threads of every libgomp loaded here, and tells whether it could.

    A forked process has none of them, and would wait for them for ever. They are started anew where
    they are next needed. Other OpenMPs see to this themselves.
    """
    ended = True
    for library in _openmps(len(sys.modules)):
        pause = getattr(library, "omp_pause_resource_all", None)  # since GCC 9
        ended = ended and pause is not None and pause(PAUSE_HARD) == 0
    return ended


@lru_cache(maxsize=1)
def _openmps(modules: int) -> list[ctypes.CDLL]:
    """Every libgomp loaded here; looked for again once there are more modules."""
    paths = set(OPENMP.findall(Path("/proc/self/maps").read_text()))
    return [ctypes.CDLL(path) for path in sorted(paths)]


def _keep_freed_memory() -> None:
    """So that the activations of each step need not be asked of the system, page by page, anew."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # of glibc, not of every C library
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, ONE_GB)
        mallopt(TRIM_THRESHOLD, NEVER)


def _limit_memory(megabytes: float) -> None:
    import resource

    status = Path("/proc/self/status").read_text()
    held = next(line.split()[1] for line in status.splitlines() if line.startswith("VmData:"))
    most = int(held) * 1024 + int(megabytes * 2**20)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
