"""Observers: told what goes on in a run, such as a progress bar, a log or a tracker."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ltbench.errors import LTBenchError
from ltbench.texts import line

if TYPE_CHECKING:
    from ltbench.registry.registry import Registry
    from ltbench.results.records import Record
    from ltbench.running.cell import Cell
    from ltbench.running.plan import Event, Plan
    from ltbench.training.events import Epoch


class Observer:
    """Told what goes on in a run, in the process that started it; an own one overrides its part.

    `argument` is what stands behind the name, as FOLDER in tensorboard=FOLDER. A cell and the
    record of it are one text: `str(cell) == str(record)`. Several cells may be in hand at a time.
    """

    def __init__(self, argument: str = "") -> None:
        self.argument = argument

    def run_began(self, plan: "Plan") -> None:
        """`plan.todo` are the cells to run."""

    def cell_began(self, cell: "Cell") -> None:
        """A cell is in hand."""

    def epoch(self, cell: "Cell", epoch: "Epoch") -> None:
        """A cell in hand has come so far."""

    def note(self, cell: "Cell", text: str) -> None:
        """A cell in hand says something that is no part of its record."""

    def cell_ended(self, record: "Record") -> None:
        """A cell is done, or has failed, and its record is written."""

    def waited(self) -> None:
        """Nothing happened for a moment."""

    def run_ended(self, records: "list[Record]") -> None:
        """No more cells are run; `records` are those made."""


def numbers(record: "Record") -> dict[str, float]:
    """The measures of a record that are numbers."""
    return {name: value for name, value in record.measures.items() if value is not None}


class Watch:
    """Passes events on to observers by name; one that raises is told of and not asked again.

    What an observer leaves behind, such as another state of chance, no cell gets to see.
    """

    def __init__(self, plan: "Plan", observers: Mapping[str, Observer]) -> None:
        self.observers = dict(observers)
        self.made: list[Record] = []
        self._each("run_began", plan)

    def __call__(self, event: "Event") -> None:
        if event.began is not None:
            self._each("cell_began", event.began)
        elif event.ended is not None:
            self.made.append(event.ended)
            self._each("cell_ended", event.ended)
        elif event.within is not None:
            hook = "note" if isinstance(event.told, str) else "epoch"
            self._each(hook, event.within, event.told)
        else:
            self._each("waited")

    def end(self) -> None:
        self._each("run_ended", self.made)

    def _each(self, hook: str, *given: Any) -> None:
        plain = getattr(Observer, hook)
        asked = [n for n, one in self.observers.items() if getattr(type(one), hook) is not plain]
        if not asked:
            return
        from ltbench.training.environment import own

        with own(threads=1, seed=0):
            for name in asked:
                try:
                    getattr(self.observers[name], hook)(*given)
                # A stranger's observer may raise anything at all; that must not cost a cell.
                except KeyboardInterrupt:
                    raise
                except BaseException as error:
                    del self.observers[name]
                    told = f"{type(error).__name__}: {line(error)}"
                    print(f"observer {name} is left out from here on: {told}", file=sys.stderr)


@contextmanager
def watched(plan: "Plan", observers: Mapping[str, Observer]) -> Iterator[Watch]:
    """A watch on a run, which ends with it, however that comes."""
    watch = Watch(plan, observers)
    try:
        yield watch
    finally:
        watch.end()


def chosen(registry: "Registry", words: Iterable[str]) -> dict[str, Observer]:
    """The observers that NAME or NAME=ARGUMENT asks for.

    Raises:
        LTBenchError: an unknown name, or an observer that cannot begin.
    """
    observers = {}
    for text in words:
        name, _, argument = text.partition("=")
        make = registry.observer(name)
        try:
            observers[text] = make(os.path.expanduser(argument))
        except (KeyboardInterrupt, LTBenchError):
            raise
        # A stranger's observer may raise anything at all; nothing has been run yet.
        except BaseException as error:
            told = f"{type(error).__name__}: {line(error)}"
            raise LTBenchError(f"observer {text} cannot begin: {told}") from error
        if not isinstance(observers[text], Observer):
            told = line(observers[text], repr)
            raise LTBenchError(f"observer {text} is no ltbench.Observer, but {told}")
    return observers
