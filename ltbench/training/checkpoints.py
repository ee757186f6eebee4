"""Checkpoints: where a long training stands, so that a cell that was killed continues."""

import hashlib
import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from glob import escape
from pathlib import Path
from typing import Any

import torch
from torch.serialization import default_restore_location

from ltbench.contract.context import Run
from ltbench.contract.method import Method
from ltbench.errors import LTBenchError
from ltbench.results import records
from ltbench.training import events, method_state
from ltbench.training.engine import State
from ltbench.training.timing import Clock, aside

EVERY = 60.0  # seconds between two of a cell, at least
SHARE = 0.01  # of the time, at most, is spent on writing them


class Checkpoint:
    """The file in which one cell keeps its training; without a path it is kept nowhere.

    `key` gives a hash of all that decides the bits. `times` tells how often the cell was continued,
    `earlier` its seconds, work and peak memory before that, `stage` which shared first stage it
    began from, if it did.
    """

    def __init__(self, path: Path | None = None, key: Callable[[], str] = str) -> None:
        self.path, self.key = path, key
        self.writing = path is not None
        self.next = time.monotonic() + EVERY
        self.times, self.earlier, self.stage = 0, (0.0, 0.0, 0.0), ""

    def read(self, run: Run) -> State | None:
        """The state to continue from, if there is one that fits."""
        if self.path is None or not self.path.exists():
            return None
        try:
            kept = unpacked(self.path.read_bytes(), self.key(), run.device)
            state: State = {**kept["state"], "hidden": kept["hidden"]}
            seconds, work, peak = kept["cost"]
            self.times, self.earlier = kept["times"] + 1, (seconds, work, peak)
            self.stage = kept["stage"]
            run.notes[:] = kept["notes"]
        # What a file that somebody made up may raise is anybody's guess; it must not cost the cell.
        except Exception as error:
            reason = str(error) if isinstance(error, LTBenchError) else "it is no checkpoint"
            events.say(f"begins anew, as {self.path} is not used: {reason}")
            return None
        events.say(f"continues after epoch {state['epoch']} of phase {state['position'] + 1}")
        return state

    def due(self) -> bool:
        return self.writing and time.monotonic() >= self.next

    def write(self, method: Method, run: Run, clock: Clock, state: State) -> None:
        """Keeps the state, unless a phase is over or a method holds what cannot be put back."""
        if self.path is None or state["epoch"] == run.phase.epochs:
            return
        started = time.monotonic()
        cost = clock.read()
        with aside():
            refusal = self._written(self.path, method, run, cost, state)
        took = time.monotonic() - started
        self.next = started + took + max(EVERY, took / SHARE)
        if refusal:
            self.writing = False
            events.say(f"keeps no checkpoint: {refusal}")

    def _written(
        self, path: Path, method: Method, run: Run, cost: tuple[float, ...], state: State
    ) -> str:
        """Writes the file; tells why not, where it cannot, as that must not cost the cell."""
        kept = method_state.told(method, run)
        if kept is None:
            return "a method holds what could not be put back"
        content = {"state": state, "hidden": kept, "cost": cost, "notes": run.notes}
        try:
            records.write_bytes(
                path, packed({**content, "times": self.times, "stage": self.stage}, self.key())
            )
        except (LTBenchError, MemoryError) as error:
            return str(error) or "there is no memory for it"
        return ""

    def drop(self) -> None:
        """Removes the file, what was torn beside it, and what is known of earlier parts."""
        self.times, self.earlier, self.stage = 0, (0.0, 0.0, 0.0), ""
        if self.path is not None:
            torn = self.path.parent.glob(f".{escape(self.path.name)}.*")
            for path in (self.path, *torn):
                with suppress(OSError):
                    path.unlink(missing_ok=True)


def path_of(results: Path, protocol: str, recipe: str, seed: int, table: str = "") -> Path:
    name = records.folder_of(f"{recipe}~{records.file_of(seed, table)}")
    return results / protocol / "checkpoints" / f"{name}.pt"


_current: ContextVar[Checkpoint] = ContextVar("checkpoint")


@contextmanager
def used(checkpoint: Checkpoint) -> Iterator[None]:
    """Makes a checkpoint that of the cell which is run within."""
    before = _current.set(checkpoint)
    try:
        yield
    finally:
        _current.reset(before)


def current() -> Checkpoint:
    """The checkpoint of the cell that is run; one that keeps nothing where there is none."""
    return _current.get(Checkpoint())


@cache
def code() -> str:
    """A hash of the benchmark's own source, which decides bits as well."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def packed(content: dict[str, Any], key: str) -> bytes:
    """What `unpacked` gives back, sealed with a key and a hash of itself."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    payload = buffer.getvalue()
    return f"{key} {hashlib.sha256(payload).hexdigest()}\n".encode() + payload


def unpacked(packed: bytes, key: str, device: torch.device) -> dict[str, Any]:
    """What was packed, read as data: nothing in it can be code.

    Tensors of the CPU come back on it, those of a GPU on `device`.

    Raises:
        LTBenchError: it is damaged, or of another cell, or was made under other conditions.
    """
    head, _, payload = packed.partition(b"\n")
    found, _, digest = head.decode(errors="replace").partition(" ")
    if hashlib.sha256(payload).hexdigest() != digest:
        raise LTBenchError("it is damaged")
    if found != key:
        raise LTBenchError("it is of other code, data, versions or another machine")

    def placed(storage: Any, place: str) -> Any:
        return storage if place == "cpu" else default_restore_location(storage, str(device))

    content: dict[str, Any] = torch.load(io.BytesIO(payload), placed, weights_only=True)
    return content
