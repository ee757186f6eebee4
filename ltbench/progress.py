"""Shows a run while it goes on: a live bar on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Iterable, Iterator

from ltbench.execute import Event
from ltbench.records import Record


def shown(events: Iterable[Event], total: int) -> Iterator[Event]:
    """Passes the events of a run on and shows each on standard error."""
    return _live(events, total) if sys.stderr.isatty() else _plain(events, total)


def _plain(events: Iterable[Event], total: int) -> Iterator[Event]:
    done = 0
    for event in events:
        if event.ended is not None:
            done += 1
            print(f"[{done}/{total}] {told(event.ended)}", file=sys.stderr, flush=True)
        yield event


def _live(events: Iterable[Event], total: int) -> Iterator[Event]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("done,"),
        TimeRemainingColumn(),
        TextColumn("left: {task.description}"),
    )
    hand: list[str] = []  # the cells in hand; drawn by us, as a drawing thread would be forked too
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False) as bar:
        task = bar.add_task("", total=total)
        for event in events:
            if event.began is not None:
                hand.append(str(event.began))
            if event.ended is not None:
                hand.remove(str(event.ended))
                bar.advance(task)
                if event.ended.status != "ok":
                    bar.console.print(escape(told(event.ended)))
            bar.update(task, description=escape(" | ".join(hand)), refresh=True)
            yield event


def told(record: Record) -> str:
    """What became of a cell, in one line."""
    if record.status != "ok":
        return f"{record} {record.status}: {record.reason}"
    if record.timing is None:
        return f"{record}: {_of_parts(record)}"
    score = record.metrics.get("balanced_accuracy")
    accuracy = f"balanced accuracy {100 * score:.1f}" if score is not None else "done"
    return f"{record}: {accuracy}, {record.timing.seconds:.2f} s ({record.timing.relative:.2f}x)"


def _of_parts(record: Record) -> str:
    scored = {name: p.metrics["f1"] for name, p in record.parts.items() if p.timing is not None}
    told = ", ".join(f"{name} {100 * (f1 or 0):.1f}" for name, f1 in scored.items())
    seconds = sum(p.timing.seconds for p in record.parts.values() if p.timing is not None)
    return f"F1 {told}, {seconds:.2f} s"
