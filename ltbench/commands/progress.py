"""Shows a run while it goes on: a live bar on a terminal, plain lines elsewhere."""

import sys
from operator import add
from typing import TYPE_CHECKING

from ltbench.rendering.fitting import shortened
from ltbench.running.observers import Observer

if TYPE_CHECKING:
    from ltbench.results.records import Record
    from ltbench.running.cell import Cell
    from ltbench.running.plan import Plan
    from ltbench.scoring.measures import Measure
    from ltbench.training.events import Epoch


BETWEEN = " | "  # cells in hand
LEAST = 10  # letters of the name of one


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
    """A bar of the cells done, and below it how far those in hand are; a line for each that ended.

    It is drawn when something happens, as a thread that draws would be forked with the cells.
    """

    def run_began(self, plan: "Plan") -> None:
        from rich.console import Console
        from rich.live import Live as Drawn
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            BarColumn(bar_width=24),
            TextColumn("{task.fields[done]}/{task.total} done, left:"),
            TimeRemainingColumn(),
        )
        self.hand: dict[str, float] = {}
        self.ranking = ranking(plan)
        self.done = 0
        console = Console(stderr=True)
        self.bar = Progress(*columns, console=console, auto_refresh=False)
        self.task = self.bar.add_task("", total=len(plan.todo), done=0)
        self.drawn = Drawn(self.bar, console=console, auto_refresh=False)
        self.drawn.start()

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
        self._print(told(record, self.ranking))
        self.waited()

    def waited(self) -> None:
        from rich.console import Group
        from rich.text import Text

        completed = self.done + sum(self.hand.values())
        self.bar.update(self.task, completed=completed, done=self.done)
        cells = in_hand(self.hand, self.drawn.console.width)
        self.drawn.update(Group(self.bar, Text(cells, no_wrap=True, overflow="ellipsis")))
        self.drawn.refresh()

    def run_ended(self, records: "list[Record]") -> None:
        self.drawn.update(self.bar)
        self.drawn.refresh()
        self.drawn.stop()

    def _print(self, text: str) -> None:
        from rich.text import Text

        self.drawn.console.print(Text(text))


def in_hand(shares: "dict[str, float]", width: int) -> str:
    """The cells in hand with how far each is, in one line; names are cut in their middle."""
    cells = [f" {share:.0%}" if share else "" for share in shares.values()]
    names = [*shares]
    between = len(BETWEEN) * (len(names) - 1) + sum(map(len, cells))
    if sum(map(len, names)) + between > width:
        each = max(LEAST, (width - between) // max(1, len(names)))
        names = [shortened(name, each) for name in names]
    return BETWEEN.join(map(add, names, cells))


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
