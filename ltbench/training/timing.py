"""A clock that waits for the device, and how far memory rises while it runs."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import torch

try:
    import resource
except ModuleNotFoundError:  # on Windows
    resource = None  # type: ignore[assignment]

PEAK = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")


class Clock:
    """Seconds, work and peak memory of a block; all wait until the device has done its work.

    `work` is what a ratio of two blocks is to be told from: on the CPU the seconds that this
    process and its children were computing, which other programs disturb little; elsewhere the
    seconds.
    `peak_memory_mb` is how far memory rose above where it stood on entry: allocated memory on a
    GPU, resident memory of the process elsewhere. `earlier` are the three of a part of the block
    that another process has done.
    """

    def __init__(
        self, device: torch.device, earlier: tuple[float, float, float] = (0.0, 0.0, 0.0)
    ) -> None:
        self.device, self.earlier = device, earlier
        self.seconds = self.work = 0.0
        self.peak_memory_mb = 0.0

    def __enter__(self) -> "Clock":
        self._before = self._reset_peak()
        self._start = self._now()
        self._worked = _worked()
        self._aside = tuple(_aside)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.read()

    def read(self) -> tuple[float, float, float]:
        """Seconds, work and peak memory until now."""
        seconds, work, peak = self.earlier
        here = self._now() - self._start - (_aside[0] - self._aside[0])
        worked = _worked() - self._worked - (_aside[1] - self._aside[1])
        self.seconds = seconds + here
        self.work = work + (worked if self.device.type == "cpu" else here)
        self.peak_memory_mb = max(peak, (self._peak() - self._before) / 2**20)
        return self.seconds, self.work, self.peak_memory_mb

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def _reset_peak(self) -> int:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return torch.cuda.memory_allocated(self.device)
        try:
            PEAK.write_text("5")
        except OSError:
            return self._peak()
        return _status("VmRSS")

    def _peak(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        if STATUS.exists():
            return _status("VmHWM")
        if resource is None:
            return 0
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


_aside = [0.0, 0.0]  # seconds and work, of this process so far, that are none of a block's own


@contextmanager
def aside() -> Iterator[None]:
    """Has no clock count what goes on within, as when a training is watched or kept."""
    started, worked = time.perf_counter(), _worked()
    try:
        yield
    finally:
        _aside[0] += time.perf_counter() - started
        _aside[1] += _worked() - worked


def owe(seconds: float, work: float) -> None:
    """Has every clock that runs count what another process has done in its place."""
    _aside[0] -= seconds
    _aside[1] -= work


class Lap:
    """A part of a block, from when this is made; memory is the block's to tell."""

    def __init__(self) -> None:
        self._start = self._now()

    def read(self) -> tuple[float, float]:
        """Seconds and work until now."""
        seconds, work = self._now()
        return seconds - self._start[0], work - self._start[1]

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.perf_counter() - _aside[0], _worked() - _aside[1]


def _worked() -> float:
    """Seconds that this process, and those that it has started and awaited, have computed."""
    if resource is None:
        return time.process_time()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _status(key: str) -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return 0
