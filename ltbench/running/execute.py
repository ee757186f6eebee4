"""Many cells: which are left to do, and each in a process of its own."""

import pickle
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from ltbench.errors import LTBenchError
from ltbench.results import records
from ltbench.results.records import Record
from ltbench.running.beginnings import Beginnings
from ltbench.running.cell import HERE, Cell, blank, run_cell
from ltbench.running.cell_locks import Claims
from ltbench.running.plan import Event, Plan, Watcher, finished
from ltbench.running.processes import Limits, Worker, can_fork, tell
from ltbench.running.request import jobs_of
from ltbench.training import checkpoints, environment, events
from ltbench.training.checkpoints import Checkpoint

if TYPE_CHECKING:
    from ltbench.running.cluster import Cluster

POLL = 0.5  # seconds between looks at what is running


def execute(
    plan: Plan,
    jobs: int = 1,
    limits: Limits | None = None,
    stopping: Callable[[], bool] = lambda: False,
    cluster: "Cluster | None" = None,
    watch: Watcher | None = None,
) -> Iterator[Event]:
    """Runs the cells that are left and writes a record of each.

    Each runs in a forked process of its own, which shares the data and costs a few milliseconds, so
    that nothing a method does reaches another cell. Cells that begin alike wait for the first of
    them, which trains that for all. Where forking is not safe (see `can_fork`) they
    run in this process, one after the other. Cells that another run has in hand are left to it, and
    waited for. Once `stopping` says so, no cell is begun; those in hand are finished. With a
    `cluster` all this holds for cells that run there. What cells tell before they end goes to
    `watch`, which must not raise: this process may be in the midst of one.

    Raises:
        LTBenchError: there are no jobs, a record cannot be written, or limits cannot be kept here.
    """
    jobs = jobs_of(jobs, 1)
    limits = limits or Limits()
    records.require_writable(plan.results / plan.protocol.name)
    waiting, claims = deque(plan.todo), Claims(plan.results, plan.protocol.name)
    if cluster is not None:
        if waiting:
            yield from _on_cluster(plan, cluster, limits, waiting, claims, stopping)
        return
    if limits.memory is not None and plan.device.type != "cpu":
        raise LTBenchError("a limit of memory needs the device cpu")
    if can_fork(plan.device):
        yield from _in_processes(plan, jobs, limits, waiting, claims, stopping, watch)
        return
    if limits:
        raise LTBenchError(
            "a timeout and a limit of memory need Linux, and a process that has not used the GPU"
        )
    while waiting and not stopping():
        cell = yield from _claimed(plan, waiting, claims)
        if cell is not None:
            yield Event(began=cell)
            yield Event(ended=_run_and_write(plan, cell, watch and _heard(cell, watch)))
            claims.release(cell)
        elif waiting:
            time.sleep(POLL)


def _claimed(
    plan: Plan, waiting: deque[Cell], claims: Claims, beginnings: Beginnings | None = None
) -> Generator[Event, None, Cell | None]:
    """The next cell that no other run has in hand, and that need not wait for one of this run.

    Tells of those that another run has made since.
    """
    for cell in list(waiting):
        if beginnings is not None and beginnings.waits(cell):
            continue
        waiting.remove(cell)
        if not claims.take(cell):
            waiting.append(cell)
            continue
        made = None if plan.fresh else next(finished([cell], plan.results), None)
        if made is None:
            return cell
        claims.release(cell)
        yield Event(began=cell)
        yield Event(ended=made)
    return None


def _heard(cell: Cell, watch: Watcher) -> events.Listener:
    return lambda message: watch(Event(within=cell, told=message))


def _run_and_write(plan: Plan, cell: Cell, listener: events.Listener | None) -> Record:
    checkpoint = _checkpoint(plan, cell)
    if plan.fresh:
        checkpoint.drop()
    with events.heard_by(listener):
        source = plan.sources[cell.table]
        record, arrays = run_cell(cell, source, plan.device, checkpoint, plan.shares)
    record = records.write(plan.results, record, arrays)
    checkpoint.drop()
    return record


def _checkpoint(plan: Plan, cell: Cell) -> Checkpoint:
    """Where a cell is kept while it runs, for whoever runs the same cell under the same conditions.

    A record without results tells all of those but the code of the benchmark itself.
    """

    def key() -> str:
        return f"{blank(cell, plan.device, 'ok').computed_digest()}-{checkpoints.code()}"

    place = (plan.protocol.name, cell.recipe.text, cell.seed, cell.table)
    return Checkpoint(checkpoints.path_of(plan.results, *place), key)


def _in_processes(
    plan: Plan,
    jobs: int,
    limits: Limits,
    waiting: deque[Cell],
    claims: Claims,
    stopping: Callable[[], bool],
    watch: Watcher | None,
) -> Iterator[Event]:
    environment.import_ahead()
    running: dict[Connection[Any, Any], tuple[Cell, Worker]] = {}
    beginnings = Beginnings(plan)
    try:
        while running or (waiting and not stopping()):
            while len(running) < jobs and not stopping():
                cell = yield from _claimed(plan, waiting, claims, beginnings)
                if cell is None:
                    break
                beginnings.began(cell)
                worker = Worker(partial(_work, plan, cell, tell if watch else None), limits)
                running[worker.answer] = (cell, worker)
                yield Event(began=cell)
            ready = set(wait(list(running), timeout=POLL))
            if not ready:
                yield Event()
            for answer, (cell, worker) in list(running.items()):
                said: Record | events.Told = ""
                if answer in ready or not worker.process.is_alive():
                    said = _received(plan, cell, worker)
                    if watch and not isinstance(said, Record):
                        watch(Event(within=cell, told=said))
                if worker.overdue and not isinstance(said, Record):
                    said = blank(cell, HERE, "timeout", worker.lateness())
                    said = records.write(plan.results, said, None)
                if isinstance(said, Record):
                    del running[answer]
                    beginnings.ended(cell, said)
                    claims.release(cell)
                    yield Event(ended=said)
    finally:
        for _, worker in running.values():
            worker.kill()


def _on_cluster(
    plan: Plan,
    cluster: "Cluster",
    limits: Limits,
    waiting: deque[Cell],
    claims: Claims,
    stopping: Callable[[], bool],
) -> Iterator[Event]:
    from ltbench.running.cluster import Pool

    if limits.memory is not None and plan.device.type != "cpu":
        raise LTBenchError("a limit of memory needs the device cpu")
    with Pool(
        cluster, plan.protocol, plan.sources, plan.code, plan.device, limits, plan.shares
    ) as pool:
        while pool.in_hand or (waiting and not stopping()):
            while waiting and not stopping() and pool.has_room():
                cell = yield from _claimed(plan, waiting, claims)
                if cell is None:
                    break
                pool.begin(cell)
                yield Event(began=cell)
            ended = pool.ended(POLL)
            if ended is None:
                yield Event()
                continue
            cell, (record, arrays) = ended
            record = records.write(plan.results, record, arrays)
            claims.release(cell)
            yield Event(ended=record)


def _work(plan: Plan, cell: Cell, listener: events.Listener | None) -> Record | LTBenchError:
    try:
        return _run_and_write(plan, cell, listener)
    except LTBenchError as error:
        return error


def _received(plan: Plan, cell: Cell, worker: Worker) -> Record | events.Told:
    """What a worker says next: something from within its cell, or the record at the end."""
    try:
        if not worker.answer.poll():  # it is dead, but what it started keeps the pipe open
            raise EOFError
        answer = worker.answer.recv()
    except (EOFError, OSError, pickle.UnpicklingError):
        record = blank(cell, HERE, "failed", worker.death())
        answer = records.write(plan.results, record, None)
    if isinstance(answer, events.Told):
        return answer
    worker.kill()  # with whatever it has left behind
    if isinstance(answer, LTBenchError):
        raise answer
    assert isinstance(answer, Record)
    return answer
