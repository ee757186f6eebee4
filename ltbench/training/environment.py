"""Where a number comes from: versions, machine, commit; and leaving a process as it was."""

import os
import platform
import random
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

PACKAGES = ("ltbench", "torch", "numpy", "scikit-learn", "imbalanced-learn")


@cache
def machine() -> dict[str, Any]:
    """The versions, the processor and the commit; read once a process."""
    return {
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in PACKAGES},
        "cpu": _cpu(),
        "processor": _kind(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "system": " ".join(filter(None, (platform.system(), *platform.libc_ver()))),
        "cores": os.cpu_count(),
        **_commit(),
    }


def described(device: torch.device, threads: int) -> dict[str, Any]:
    """The environment of a cell."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {**machine(), "device": device.type, "gpu": gpu, "threads": threads}


def deciding(device: torch.device, threads: int) -> list[str]:
    """What of the environment decides the bits of a training, for the keys of what is kept."""
    told = described(device, threads)
    return [str(told[name]) for name in DECIDING]


DECIDING = ("torch", "numpy", "device", "gpu", "cpu", "processor", "instructions", "threads")


@cache
def import_ahead() -> None:
    """Loads what every forked process would load anew: the first optimizer alone is a second."""
    machine()
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)


def _cpu() -> str:
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def _kind() -> str:
    """Family, model and stepping, by which two processors of one name may differ."""
    told = _cpuinfo()
    known = ("vendor_id", "cpu family", "model", "stepping")
    return ", ".join(f"{key} {told[key]}" for key in known if key in told)


def _cpuinfo() -> dict[str, str]:
    """What Linux tells of the first processor; nothing elsewhere."""
    try:
        first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _commit() -> dict[str, Any]:
    """The commit of the benchmark's own code and whether that code differs from it."""
    root = Path(__file__).resolve().parents[2]
    commit = _git(root, "rev-parse", "HEAD") if (root / ".git").exists() else None
    if commit is None:
        return {"commit": None, "dirty": None}
    changed = _git(root, "status", "--porcelain", "--", "ltbench", "plugins", "pyproject.toml")
    return {"commit": commit, "dirty": bool(changed)}


def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@contextmanager
def own(threads: int, seed: int) -> Iterator[None]:
    """A process as one cell needs it, and afterwards as it was.

    Sets the threads, has cuDNN choose algorithms that repeat their bits, and seeds every global
    generator in case a method uses one. What a method may leave behind besides is put back as well:
    switches of torch, warnings' filters, the folder.
    """
    before_threads, before_dtype = torch.get_num_threads(), torch.get_default_dtype()
    before_numpy, before_python = np.random.get_state(), random.getstate()
    before_switches = [read() for read, _ in SWITCHES]
    before_folder, before_error = os.getcwd(), np.geterr()
    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = True
    np.random.seed(seed)
    random.seed(seed)
    try:
        gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
        with torch.random.fork_rng(devices=gpus), warnings.catch_warnings():
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before_threads)
        torch.set_default_dtype(before_dtype)
        np.random.set_state(before_numpy)
        np.seterr(**before_error)
        random.setstate(before_python)
        for (read, write), value in zip(SWITCHES, before_switches, strict=True):
            if read() != value:  # to write some loads a compiler, which takes a second
                write(value)
        os.chdir(before_folder)


@contextmanager
def interrupts(came: list[int]) -> Iterator[None]:
    """Notes each Ctrl-C that comes within, to tell it from what a method raises itself."""
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield  # none reaches this thread
        return

    def note(number: int, frame: Any) -> None:
        came.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _switch(owner: Any, name: str) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)


def _deterministic() -> tuple[bool, bool]:
    """Whether algorithms have to repeat their bits, and whether one that cannot is only told of."""
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    return torch.are_deterministic_algorithms_enabled(), warns


def _set_deterministic(before: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])


SWITCHES: list[tuple[Callable[[], Any], Callable[[Any], Any]]] = [
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (_deterministic, _set_deterministic),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    *(_switch(torch.backends.cudnn, name) for name in ("benchmark", "deterministic", "enabled")),
]
"""What reads and what writes each global switch of torch that changes numbers or speed."""
