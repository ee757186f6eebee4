"""A log of a run for machines: a JSON object a line."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from ltbench.contract.hookspecs import hookimpl
from ltbench.contract.observer import Maker
from ltbench.errors import LTBenchError
from ltbench.running.observers import Observer, numbers
from ltbench.texts import readable

if TYPE_CHECKING:
    from ltbench.results.records import Record
    from ltbench.running.cell import Cell
    from ltbench.running.plan import Plan
    from ltbench.training.events import Epoch


class JsonLog(Observer):
    """Appends a JSON object a line to a file, "-" being standard error.

    Each has `event` and `time` (UTC); a cell's have `protocol`, `recipe`, `seed` and, where there
    are several, `table`.

    - run-began: `version` and `hash` of the protocol, `results`, `cells`, and `todo` of them
    - cell-began
    - epoch: `share` of the cell; `epoch` of `epochs` and its mean `loss` where a network is trained
    - note: `text`
    - cell-ended: `status`, `reason`, `measures` by name, `seconds` of training, `relative` to plain
      training, `continued`, and the shared `stage` that it began from, if any
    - run-ended: the number of cells of each `status`
    """

    def __init__(self, argument: str = "") -> None:
        super().__init__(argument)
        if not argument:
            raise LTBenchError("a JSON log needs a file, as in --log-json run.jsonl, or - ")
        try:
            self.file = sys.stderr if argument == "-" else open(argument, "a", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            told = f"{readable(argument)} cannot be written: {error.strerror}"
            raise LTBenchError(told) from None

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
            results=readable(str(plan.results)),
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
            measures=numbers(record),
            seconds=timing and timing.seconds,
            relative=timing and timing.relative,
            continued=record.continued,
            stage=record.stage,
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


@hookimpl
def register_observers(register: Callable[[str, Maker], None]) -> None:
    register("json", JsonLog)
