"""Many cells: which are left to do, and each in a process of its own."""

import pickle
import statistics
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from ltbench import environment, records, tracks
from ltbench.cell import Cell, blank, run_cell
from ltbench.claims import Claims
from ltbench.errors import LTBenchError
from ltbench.processes import Limits, Worker, can_fork
from ltbench.protocols import Protocol
from ltbench.records import Origin, Record, Rejected
from ltbench.registry import Registry, registry_of

RESULTS = Path("leaderboards")
POLL = 0.5  # seconds between looks at what is running


@dataclass(frozen=True)
class Plan:
    """The cells that were asked for: those with a record already, and those left to run."""

    protocol: Protocol
    cells: list[Cell]
    done: list[Record]
    sources: dict[str, Any] = field(repr=False)
    device: torch.device
    results: Path
    fresh: bool = False

    @property
    def todo(self) -> list[Cell]:
        have = {(record.recipe, record.table, record.seed) for record in self.done}
        return [c for c in self.cells if (c.recipe.text, c.table, c.seed) not in have]


@dataclass(frozen=True)
class Event:
    """A cell began, or ended with a record; neither, as a sign of life."""

    began: Cell | None = None
    ended: Record | None = None


def plan(
    registry: Registry,
    protocol_name: str | Path,
    recipes: Sequence[str] = (),
    seeds: int | None = None,
    results: Path = RESULTS,
    device: str = "cpu",
    fresh: bool = False,
    shard: tuple[int, int] = (1, 1),
) -> Plan:
    """What a run would do; the protocol's own recipes and seeds where none are given.

    The floor of the track, the recipes that every table of it needs, is added where it is missing.
    Cells go seed by seed, so that any number of finished seeds compares all recipes.

    Raises:
        LTBenchError: anything of the request cannot be met, or the results folder holds records
            that the new ones must not be mixed with.
    """
    protocol = registry.protocol(protocol_name)
    track = tracks.of(protocol)
    composed = [registry.recipe(text) for text in (*track.FLOOR, *(recipes or protocol.recipes))]
    if seeds is not None and seeds < 1:
        raise LTBenchError(f"{seeds} seeds leave nothing to run; at least 1 is needed")
    sources = track.load(registry, protocol)
    where = _device(device)
    track.plan(protocol, sources, where)
    distinct = {recipe.text: recipe for recipe in composed}
    origins = {
        text: {
            method.name: Origin(plugin.package, plugin.version, plugin.digest)
            for method in recipe.methods
            for plugin in [registry.owner(method.name)]
        }
        for text, recipe in distinct.items()
    }
    cells = [
        Cell(protocol, recipe, seed, getattr(source, "fingerprint", ""), origins[text], table)
        for seed in range(seeds or protocol.seeds)
        for table, source in sources.items()
        for text, recipe in distinct.items()
    ]
    part, parts = shard
    if not 1 <= part <= parts:
        raise LTBenchError(f"shard {part}/{parts} is none; the first of two is 1/2")
    cells = cells[part - 1 :: parts]
    done = [] if fresh else list(_finished(cells, results))
    return Plan(protocol, cells, done, sources, where, results, fresh)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise LTBenchError(f"unknown device {name!r}; known: cpu, cuda, cuda:1, ...") from None
    if device.type not in ("cpu", "cuda"):
        raise LTBenchError(f"device {name!r} is not supported; known: cpu, cuda, cuda:1, ...")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise LTBenchError(f"device {name!r} is not there; {torch.cuda.device_count()} GPUs are")
    return device


def _finished(cells: Iterable[Cell], results: Path) -> Iterator[Record]:
    """The records that need not be made again.

    One that failed, or whose methods have changed since, is made again.
    """
    for cell in cells:
        name = cell.protocol.name
        path = records.path_of(results, name, cell.recipe.text, cell.seed, cell.table)
        if not path.exists():
            continue
        record = records.read(path)
        if isinstance(record, Rejected):
            raise LTBenchError(f"{record}; move it away, or redo its cell with --fresh")
        if record.hash != cell.protocol.hash:
            raise LTBenchError(
                f"{path} belongs to {record.protocol} version {record.version} ({record.hash}), "
                f"not to version {cell.protocol.version} ({cell.protocol.hash}); "
                "choose another --results, or redo its cell with --fresh"
            )
        if record.fingerprint != cell.fingerprint:
            raise LTBenchError(
                f"{path} was made from other data ({record.fingerprint}) than these "
                f"({cell.fingerprint}); choose another --results, or redo its cell with --fresh"
            )
        if record.status in ("ok", "skipped") and record.plugins == cell.origins:
            yield record


def execute(
    plan: Plan,
    jobs: int = 1,
    limits: Limits | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Runs the cells that are left and writes a record of each.

    With one job and no `limits` the cells run in this process; else each runs in a forked one of
    its own, which shares the data and costs a few milliseconds. Where forking is not safe, which is
    everywhere but on Linux and with a GPU, they run here after all. Cells that another run has in
    hand are left to it, and waited for. Once `stopping` says so, no cell is begun; those in hand
    are finished.

    Raises:
        LTBenchError: a record cannot be written, or limits cannot be kept here.
    """
    records.require_writable(plan.results / plan.protocol.name)
    forking = can_fork() and plan.device.type == "cpu"
    if limits and not forking:
        raise LTBenchError("a timeout and a limit of memory need Linux and the device cpu")
    waiting, claims = deque(plan.todo), Claims(plan.results, plan.protocol.name)
    if forking and (jobs > 1 or limits is not None):
        yield from _in_processes(plan, jobs, limits or Limits(), waiting, claims, stopping)
        return
    while waiting and not stopping():
        cell = yield from _claimed(plan, waiting, claims)
        if cell is not None:
            yield Event(began=cell)
            yield Event(ended=_run_and_write(plan, cell))
            claims.release(cell)
        elif waiting:
            time.sleep(POLL)


def _claimed(
    plan: Plan, waiting: deque[Cell], claims: Claims
) -> Generator[Event, None, Cell | None]:
    """The next cell that no other run has in hand; tells of those that another has made since."""
    for _ in range(len(waiting)):
        cell = waiting.popleft()
        if not claims.take(cell):
            waiting.append(cell)
            continue
        made = None if plan.fresh else next(_finished([cell], plan.results), None)
        if made is None:
            return cell
        claims.release(cell)
        yield Event(began=cell)
        yield Event(ended=made)
    return None


def _run_and_write(plan: Plan, cell: Cell) -> Record:
    record, predictions = run_cell(cell, plan.sources[cell.table], plan.device)
    return records.write(plan.results, record, predictions)


def _in_processes(
    plan: Plan,
    jobs: int,
    limits: Limits,
    waiting: deque[Cell],
    claims: Claims,
    stopping: Callable[[], bool],
) -> Iterator[Event]:
    _import_ahead()
    running: dict[Connection[Any, Any], tuple[Cell, Worker]] = {}
    try:
        while running or (waiting and not stopping()):
            while len(running) < jobs and not stopping():
                cell = yield from _claimed(plan, waiting, claims)
                if cell is None:
                    break
                worker = Worker(partial(_work, plan, cell), limits)
                running[worker.answer] = (cell, worker)
                yield Event(began=cell)
            ready = set(wait(list(running), timeout=POLL))
            if not ready:
                yield Event()
            for answer, (cell, worker) in list(running.items()):
                if answer in ready or not worker.process.is_alive():
                    del running[answer]
                    record = _received(plan, cell, worker)
                    claims.release(cell)
                    yield Event(ended=record)
                elif worker.overdue:
                    del running[answer]
                    worker.kill()
                    reason = f"killed after {limits.timeout:g} s{worker.last_words()}"
                    record = blank(cell, plan.device, "timeout", reason)
                    record = records.write(plan.results, record, None)
                    claims.release(cell)
                    yield Event(ended=record)
    finally:
        for _, worker in running.values():
            worker.kill()


def _work(plan: Plan, cell: Cell) -> Record | LTBenchError:
    try:
        return _run_and_write(plan, cell)
    except LTBenchError as error:
        return error


def _received(plan: Plan, cell: Cell, worker: Worker) -> Record:
    try:
        if not worker.answer.poll():  # it is dead, but what it started keeps the pipe open
            raise EOFError
        answer = worker.answer.recv()
    except (EOFError, OSError, pickle.UnpicklingError):
        worker.process.join()
        code = worker.process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        reason = f"its process ended with {how} before the cell was done{worker.last_words()}"
        answer = records.write(plan.results, blank(cell, plan.device, "failed", reason), None)
    worker.kill()  # with whatever it has left behind
    if isinstance(answer, LTBenchError):
        raise answer
    assert isinstance(answer, Record)
    return answer


def _import_ahead() -> None:
    """What every process would import anew: the first optimizer alone brings in a second of it."""
    environment.machine()
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)


def estimate(plan: Plan, jobs: int) -> float:
    """About how many seconds the cells left would take.

    Plain training is measured here, for a moment; a recipe takes as many times of it as its earlier
    cells took, once where there are none.
    """
    protocol = plan.protocol
    earlier: dict[tuple[str, str], list[float]] = {}
    for record in records.read_all(plan.results, protocol.name):
        if isinstance(record, Record):
            timings = [record.timing, *(part.timing for part in record.parts.values())]
            costs = [timing.relative for timing in timings if timing is not None]
            if record.distilled is not None and record.timing is not None:
                costs[0] += record.distilled.evaluation_seconds / record.timing.reference_work
            if costs:
                place = (record.recipe, record.table)
                earlier.setdefault(place, []).append(statistics.mean(costs))
    with environment.own(protocol.compute.threads, 0):
        plain = {
            table: tracks.of(protocol).seconds(protocol, source, plan.device)
            for table, source in plan.sources.items()
            if not isinstance(source, LTBenchError)
        }
    expected = 0.0
    for cell in plan.todo:
        usual = plain.get(cell.table, 0.0)
        known = earlier.get((cell.recipe.text, cell.table))
        expected += usual * (statistics.median(known) if known else 1.0)
    return expected / jobs


def run(
    protocol: str | Path,
    recipes: Sequence[str] = (),
    seeds: int | None = None,
    *,
    results: str | Path = RESULTS,
    jobs: int = 1,
    device: str = "cpu",
    fresh: bool = False,
    shard: tuple[int, int] = (1, 1),
    timeout: float | None = None,
    memory: float | None = None,
    plugins: Iterable[str | Path] = (),
    data: Mapping[str, str | Path] | None = None,
    watch: Callable[[Event], None] = lambda event: None,
) -> list[Record]:
    """Runs a protocol's recipes and returns a record of each cell, old ones included.

    `recipes` and `seeds` are the protocol's own where none are given. `shard` (2, 5) is the second
    of five parts of the cells. `timeout` (seconds) and `memory` (MB) are what one cell may take.
    `plugins` are paths of single files with methods of your own, `data` the paths of data sets of
    your own by name. `watch` is called when a cell begins or ends.

    Raises:
        LTBenchError: the request cannot be met, or a record cannot be written.
    """
    planned = plan(
        registry_of(plugins, data), protocol, recipes, seeds, Path(results), device, fresh, shard
    )
    limits = Limits(timeout, memory) if timeout or memory else None
    made = []
    for event in execute(planned, jobs, limits):
        watch(event)
        if event.ended is not None:
            made.append(event.ended)
    return sorted([*planned.done, *made], key=lambda record: (record.recipe, record.seed))
