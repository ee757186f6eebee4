"""What a cell tells while it runs: how far it has come, and notes, to whoever listens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

from torch import Tensor

from ltbench.training.timing import aside


@dataclass(frozen=True)
class Epoch:
    """The end of an epoch: the share of the cell that is done, and the mean loss of the steps.

    `epochs` are those of all phases of one training; 0 stands for a part of a cell that has none.
    A method that takes several gradients a step adds up their losses.
    """

    share: float
    epoch: int = 0
    epochs: int = 0
    loss: float | None = None


Told = Epoch | str
Listener = Callable[[Told], None]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def heard_by(listener: Listener | None) -> Iterator[None]:
    """Has a listener told what goes on within; None is nobody, as for a training that is timed."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


@contextmanager
def part(position: int, parts: int) -> Iterator[None]:
    """One of several equal parts of what goes on; shares told within are those of the part."""
    outer = _listener.get()
    if outer is None:
        yield
        return

    def told(message: Told) -> None:
        if isinstance(message, Epoch):
            message = replace(message, share=(position + message.share) / parts)
        outer(message)

    with heard_by(told):
        yield
        told(Epoch(1.0))


def passed(epoch: int, epochs: int, losses: Tensor) -> None:
    """Tells the end of an epoch; costs nothing where nobody listens."""
    hearing = _listener.get()
    if hearing is not None:
        with aside():
            hearing(Epoch(epoch / epochs, epoch, epochs, losses.mean().item()))


def say(text: str) -> None:
    """Tells a note to whoever runs the cell; it is no part of the record."""
    hearing = _listener.get()
    if hearing is not None:
        with aside():
            hearing(text)
