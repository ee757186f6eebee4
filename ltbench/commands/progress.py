"""Shows a run while it goes on: a live bar on a terminal, plain lines elsewhere."""

import sys
from typing import TYPE_CHECKING

from ltbench.running.observers import Observer

if TYPE_CHECKING:
    from ltbench.results.records import Record
    from ltbench.running.cell import Cell
    from ltbench.running.plan import Plan
    from ltbench.scoring.measures import Measure
    from ltbench.training.events import Epoch


def view() -> Observer:
    """What shows a run on standard error."""
    return Live() if sys.stderr.isatty() else Plain()


class Plain(Observer):
    """A line for each cell that has ended, and for what one says."""

    def run_began(self, plan: "Plan") -> None:
        self.done, self.total, self.ranking = 0, len(plan.todo), ranking(plan)

    def note(self, cell: "Cell", text: str) -> None:
        print(f"{cell} {text}", file=sys.stderr, flush=True)

    def cell_ended(self, record: "Record") -> None:
        self.done += 1
        print(
            f"[{self.done}/{self.total}] {told(record, self.ranking)}", file=sys.stderr, flush=True
        )


class Live(Observer):
    """A bar of the cells done, with how far those in hand are.

    It is drawn when something happens, as a thread that draws would be forked with the cells.
    """

    def run_began(self, plan: "Plan") -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            BarColumn(bar_width=24),
            TextColumn("{task.fields[done]}/{task.total} done,"),
            TimeRemainingColumn(),
            TextColumn("left: {task.description}"),
        )
        self.hand: dict[str, float] = {}
        self.ranking = ranking(plan)
        self.done = 0
        self.bar = Progress(*columns, console=Console(stderr=True), auto_refresh=False)
        self.task = self.bar.add_task("", total=len(plan.todo), done=0)
        self.bar.start()

    def cell_began(self, cell: "Cell") -> None:
        self.hand[str(cell)] = 0.0
        self.waited()

    def epoch(self, cell: "Cell", epoch: "Epoch") -> None:
        self.hand[str(cell)] = epoch.share
        self.waited()

    def note(self, cell: "Cell", text: str) -> None:
        self._print(f"{cell} {text}")

    def cell_ended(self, record: "Record") -> None:
        del self.hand[str(record)]
        self.done += 1
        if record.status != "ok":
            self._print(told(record, self.ranking))
        self.waited()

    def waited(self) -> None:
        from rich.markup import escape

        cells = [f"{cell} {share:.0%}" if share else cell for cell, share in self.hand.items()]
        self.bar.update(
            self.task,
            completed=self.done + sum(self.hand.values()),
            done=self.done,
            description=escape(" | ".join(cells)),
            refresh=True,
        )

    def run_ended(self, records: "list[Record]") -> None:
        self.bar.stop()

    def _print(self, text: str) -> None:
        from rich.markup import escape

        self.bar.console.print(escape(text))


def ranking(plan: "Plan") -> "Measure":
    """The measure by which a plan's protocol ranks."""
    return plan.track.measure(plan.track.shown(plan.protocol)[0])


def told(record: "Record", ranking: "Measure") -> str:
    """What became of a cell, in one line."""
    if record.status != "ok":
        return f"{record} {record.status}: {record.reason}"
    value, timing = record.measures.get(ranking.name), record.timing
    score = f"{ranking.called} {ranking.written(value)}" if value is not None else "done"
    cost = f", {timing.seconds:.2f} s ({timing.relative:.2f}x)" if timing is not None else ""
    return f"{record}: {score}{cost}"
