"""Observers: told what goes on in a run, such as a progress bar, a log or a tracker."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from ltbench.errors import LTBenchError

if TYPE_CHECKING:
    from ltbench.cell import Cell
    from ltbench.execute import Event, Plan
    from ltbench.midway import Epoch
    from ltbench.records import Record
    from ltbench.registry import Registry


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
    """The metrics of a record that are numbers; those of a learner are called learner/metric."""
    scores = dict(record.metrics)
    for learner, part in record.parts.items():
        scores |= {f"{learner}/{metric}": value for metric, value in part.metrics.items()}
    return {metric: value for metric, value in scores.items() if value is not None}


Maker = Callable[[str], Observer]


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
        from ltbench.environment import own

        with own(threads=1, seed=0):
            for name in asked:
                try:
                    getattr(self.observers[name], hook)(*given)
                # A stranger's observer may raise anything at all; that must not cost a cell.
                except (Exception, SystemExit) as error:
                    del self.observers[name]
                    told = f"{type(error).__name__}: {' '.join(str(error).split())}"
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
            observers[text] = make(argument)
        except LTBenchError:
            raise
        # A stranger's observer may raise anything at all; nothing has been run yet.
        except (Exception, SystemExit) as error:
            told = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise LTBenchError(f"observer {text} cannot begin: {told}") from error
        if not isinstance(observers[text], Observer):
            raise LTBenchError(f"observer {text} is no ltbench.Observer, but {observers[text]!r}")
    return observers


def built_in() -> dict[str, Maker]:
    return {"json": JsonLog}


def summary(make: Maker) -> str:
    """What an observer says of itself in a line."""
    return (make.__doc__ or "").strip().partition("\n")[0]


class JsonLog(Observer):
    """Appends a JSON object a line to a file, "-" being standard error.

    Each has `event` and `time` (UTC); a cell's have `protocol`, `recipe`, `seed` and, where there
    are several, `table`.

    - run-began: `version` and `hash` of the protocol, `results`, `cells`, and `todo` of them
    - cell-began
    - epoch: `share` of the cell; `epoch` of `epochs` and its mean `loss` where a network is trained
    - note: `text`
    - cell-ended: `status`, `reason`, `metrics` by name, `seconds` of training, `relative` to plain
      training, `continued`
    - run-ended: the number of cells of each `status`
    """

    def __init__(self, argument: str = "") -> None:
        super().__init__(argument)
        if not argument:
            raise LTBenchError("a JSON log needs a file, as in --log-json run.jsonl, or - ")
        try:
            self.file = sys.stderr if argument == "-" else open(argument, "a", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise LTBenchError(f"{argument} cannot be written: {error.strerror}") from None

    def _line(self, event: str, **fields: Any) -> None:
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = msgspec.json.encode({"event": event, "time": time, **fields}).decode() + "\n"
        self.file.write(line)
        self.file.flush()

    def run_began(self, plan: "Plan") -> None:
        protocol = plan.protocol
        self.protocol = {"protocol": protocol.name}
        self._line(
            "run-began",
            **self.protocol,
            version=protocol.version,
            hash=protocol.hash,
            results=str(plan.results),
            cells=len(plan.cells),
            todo=len(plan.todo),
        )

    def cell_began(self, cell: "Cell") -> None:
        self._line("cell-began", **self._place(cell.recipe.text, cell.seed, cell.table))

    def epoch(self, cell: "Cell", epoch: "Epoch") -> None:
        place = self._place(cell.recipe.text, cell.seed, cell.table)
        training = {"epoch": epoch.epoch, "epochs": epoch.epochs, "loss": epoch.loss}
        share = round(epoch.share, 4)
        self._line("epoch", **place, share=share, **(training if epoch.epochs else {}))

    def note(self, cell: "Cell", text: str) -> None:
        self._line("note", **self._place(cell.recipe.text, cell.seed, cell.table), text=text)

    def cell_ended(self, record: "Record") -> None:
        timing = record.timing
        self._line(
            "cell-ended",
            **self._place(record.recipe, record.seed, record.table),
            status=record.status,
            reason=record.reason,
            metrics=numbers(record),
            seconds=timing and timing.seconds,
            relative=timing and timing.relative,
            continued=record.continued,
        )

    def run_ended(self, records: "list[Record]") -> None:
        statuses = [record.status for record in records]
        count = {status: statuses.count(status) for status in dict.fromkeys(statuses)}
        self._line("run-ended", **self.protocol, status=count)
        if self.file is not sys.stderr:
            self.file.close()

    def _place(self, recipe: str, seed: int, table: str) -> dict[str, Any]:
        of_table = {"table": table} if table else {}
        return {**self.protocol, "recipe": recipe, "seed": seed, **of_table}
