"""Work that cells leave to others which begin alike; where it cannot be had, each does it itself.

It is kept in the cache folder, under a hash of all that decides it.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch

from ltbench.datasets import cache_folder
from ltbench.errors import LTBenchError
from ltbench.tracks import kept_networks
from ltbench.training import events
from ltbench.training.checkpoints import packed, unpacked
from ltbench.training.timing import aside

MOST = 2**30  # bytes of one kind; what was used longest ago goes first
PATIENCE = 10.0, 3.0  # seconds, and times what the work takes, that another is waited for

_shares: ContextVar[bool] = ContextVar("shares", default=False)


@contextmanager
def sharing(shares: bool) -> Iterator[None]:
    """Has what is done within be shared or not; elsewhere it is not."""
    before = _shares.set(shares)
    try:
        yield
    finally:
        _shares.reset(before)


def shares() -> bool:
    """Whether the cell that is run is to share its work."""
    return _shares.get()


class SharedWork:
    """One piece of work: what was `found` of it, or else what is done is to be left to others."""

    def __init__(self, kind: str, key: str, fields: Collection[str]) -> None:
        self.kind, self.key, self.fields = kind, key, set(fields)
        self.found: dict[str, Any] | None = None
        self.held = ExitStack()

    @property
    def path(self) -> Path:
        return cache_folder() / self.kind / f"{self.key}.pt"

    def leave(self, content: dict[str, Any]) -> None:
        """Keeps what was done for others; no clock counts that."""
        with aside():
            name = self.path.name
            refusal = kept_networks.put(self.kind, name, packed(content, self.key), MOST)
            self.held.close()
            if refusal:
                events.say(f"leaves nothing to other cells: {refusal}")

    def look(self, tells: bool) -> bool:
        """Whether the work is there; `tells` says why what is there is not used."""
        try:
            self.found = unpacked(self.path.read_bytes(), self.key, torch.device("cpu"))
            if self.found.keys() != self.fields:
                raise LTBenchError("it is of another form")
            kept_networks.touch(self.path)
        except (FileNotFoundError, NotADirectoryError):
            self.found = None
        # What a file that somebody made up may raise is anybody's guess; it costs no cell.
        except Exception as error:
            self.found = None
            if tells:
                reason = str(error) if isinstance(error, LTBenchError) else "it is none of ours"
                events.say(f"does all its work itself, as {self.path} is not used: {reason}")
        return self.found is not None


@contextmanager
def shared(
    kind: str, key: str, fields: Collection[str], takes: Callable[[], float]
) -> Iterator[SharedWork]:
    """A piece of work of some kind, whose content has these fields; done by nobody else meanwhile.

    One who does it is waited for, but no longer than by far enough for what it `takes`, in seconds.
    """
    work = SharedWork(kind, key, fields)
    with work.held:
        if not work.look(tells=False):
            if not work.held.enter_context(kept_networks.alone(kind, key, 0)):
                patience = PATIENCE[0] + PATIENCE[1] * takes()
                work.held.enter_context(kept_networks.alone(kind, key, patience))
            if work.look(tells=True):
                work.held.close()
        yield work
