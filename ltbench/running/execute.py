"""Many cells: which are left to do, and each in a process of its own."""

import os
import pickle
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ltbench.errors import LTBenchError
from ltbench.results import records
from ltbench.results.records import Record
from ltbench.running.answers import packed
from ltbench.running.beginnings import Beginnings
from ltbench.running.cell import HERE, Cell, answer_cell, blank, run_cell
from ltbench.running.cell_locks import Claims
from ltbench.running.closing import Closed
from ltbench.running.cluster import packed as packed_task
from ltbench.running.keeper import MOST_WORDS, Seat, sit
from ltbench.running.plan import RESULTS, Event, Plan, Watcher, finished
from ltbench.running.processes import Limits, Worker, can_fork, forked, tell, tell_bytes
from ltbench.running.request import jobs_of
from ltbench.running.spawning import Sent, Spawned, sendable
from ltbench.training import checkpoints, environment, events
from ltbench.training.checkpoints import Checkpoint

if TYPE_CHECKING:
    from ltbench.running.cluster import Cluster

TOLD: Any = events.Told  # as what is read
ANSWERED = msgspec.msgpack.encode("\0answered")  # what a worker says last
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
    them, which trains that for all. Where forking is not safe (see `can_fork`) each has a process
    that is started anew, if there are several jobs or a timeout; else they run in this one, one
    after the other, as methods that were handed over as objects must. Cells that another run has in
    hand are left to it, and waited for. Once `stopping` says so, no cell is begun; those in hand
    are finished. With a `cluster` all this holds for cells that run there. What cells tell before
    they end goes to `watch`, which must not raise: this process may be in the midst of one.

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
    if limits.memory is not None:
        raise LTBenchError("a limit of memory needs Linux, and a process that has not used the GPU")
    if limits and not sendable(plan.cells):
        raise LTBenchError(
            "a timeout for methods that were handed over as objects needs Linux, and a process "
            "that has not used the GPU; put them into a file and name that as a plugin"
        )
    if limits or (jobs > 1 and len(waiting) > 1 and sendable(plan.cells)):
        yield from _in_processes(plan, jobs, limits, waiting, claims, stopping, watch, _spawns)
        return
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
        source = plan.loaded[cell.table]
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


@dataclass
class _Running:
    """A cell in hand: its worker, and its seat where the data are held elsewhere.

    `talks` is false once the worker has nothing more to say, `answered` true if it said that the
    keeper has its answer.
    """

    cell: Cell
    worker: Worker
    seat: Seat | None = None
    talks: bool = True
    answered: bool = False

    @property
    def heard(self) -> list[Any]:
        """What may say something."""
        seat = [] if self.seat is None else [self.seat.result]
        return [*seat, *([self.worker.answer] if self.talks else [])]


Begins = Callable[
    [Plan, Limits, list[_Running], bool], AbstractContextManager[Callable[[Cell], _Running]]
]


def _in_processes(
    plan: Plan,
    jobs: int,
    limits: Limits,
    waiting: deque[Cell],
    claims: Claims,
    stopping: Callable[[], bool],
    watch: Watcher | None,
    begins: Begins | None = None,
) -> Iterator[Event]:
    environment.import_ahead()
    running: list[_Running] = []
    beginnings = Beginnings(plan)
    with (begins or _begins)(plan, limits, running, watch is not None) as begin:
        try:
            while running or (waiting and not stopping()):
                while len(running) < jobs and not stopping():
                    cell = yield from _claimed(plan, waiting, claims, beginnings)
                    if cell is None:
                        break
                    beginnings.began(cell)
                    running.append(begin(cell))
                    yield Event(began=cell)
                ready = set(wait([one for r in running for one in r.heard], timeout=POLL))
                if not ready:
                    yield Event()
                for one in [*running]:
                    said: Record | events.Told = ""
                    if ready.intersection(one.heard) or one.talks and not one.worker.is_alive():
                        hear = _received if one.seat is None else _heard_of
                        said = hear(plan, one)
                        if watch and said and not isinstance(said, Record):
                            watch(Event(within=one.cell, told=said))
                    if one.worker.overdue and not isinstance(said, Record):
                        said = blank(one.cell, HERE, "timeout", one.worker.lateness())
                        said = records.write(plan.results, said, None)
                    if isinstance(said, Record):
                        running.remove(one)
                        beginnings.ended(one.cell, said)
                        claims.release(one.cell)
                        yield Event(ended=said)
        finally:
            for one in running:
                one.worker.kill()


@contextmanager
def _begins(
    plan: Plan, limits: Limits, running: list[_Running], told: bool
) -> Iterator[Callable[[Cell], _Running]]:
    """Gives what begins a cell in a process of its own."""
    keeper = plan.keeper
    if keeper is None:

        def begin(cell: Cell) -> _Running:
            return _Running(
                cell, Worker(partial(_work, plan, cell, tell if told else None), limits)
            )

        yield begin
        return
    kept = plan.results / plan.protocol.name / "checkpoints"
    made = bool(plan.closed) and not kept.exists()
    if made:  # only what is there can stay open
        kept.mkdir(exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="ltbench-"))
    closed = Closed(_shut(plan), [kept, scratch])

    def seated(cell: Cell) -> _Running:
        seat = keeper.seat(cell, blank(cell, HERE), plan.results)
        ours = [keeper.control, *(one.seat.result for one in running if one.seat is not None)]
        room = _Room(seat.desks, closed, bool(plan.closed), scratch, [*ours, seat.result])
        worker = Worker(partial(_answer, plan, cell, room, _say if told else None), limits)
        for desk in seat.desks:
            desk.close()
        return _Running(cell, worker, seat)

    try:
        yield seated
    finally:
        closed.close()
        shutil.rmtree(scratch, ignore_errors=True)
        if made:
            with suppress(OSError):  # unless something is kept there
                kept.rmdir()


@contextmanager
def _spawns(
    plan: Plan, limits: Limits, running: list[_Running], told: bool
) -> Iterator[Callable[[Cell], _Running]]:
    """Gives what begins a cell in a process that is started anew."""
    scratch = Path(tempfile.mkdtemp(prefix="ltbench-"))
    pickled: dict[str, bytes] = {}

    def begin(cell: Cell) -> _Running:
        if cell.table not in pickled:
            pickled[cell.table] = pickle.dumps(plan.loaded[cell.table], protocol=5)
        kept = _checkpoint(plan, cell)
        sent = Sent(
            task=packed_task(cell, plan.code, plan.device, limits, plan.shares),
            files=plan.files,
            results=plan.results.absolute(),
            checkpoint=(kept.path and kept.path.absolute(), kept.key()),
            fresh=plan.fresh,
            told=told,
            source=pickled[cell.table],
        )
        return _Running(cell, Spawned(sent, limits, scratch))

    try:
        yield begin
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _shut(plan: Plan) -> list[Path]:
    """What workers must not open, if anything: data, results, and the histories that hold some."""
    if not plan.closed:
        return []
    results = plan.results.absolute()
    above = [folder / ".git" for folder in (Path.cwd(), *results.parents, *Path.cwd().parents)]
    usual = RESULTS.absolute()
    return [*plan.closed, results, *(path for path in (usual, *above) if path.exists())]


@dataclass(frozen=True)
class _Room:
    """Where a worker sits: its ends of the pipes to the keeper, what is closed to it, a folder for
    what it writes meanwhile, and the ends of pipes that are not its own."""

    desks: list[Any]
    closed: Closed
    sealed: bool
    scratch: Path
    others: list[Any]

    def enter(self) -> None:
        for end in self.others:
            end.close()
        self.closed.apply()
        if self.sealed:  # no file can be made in a folder above what is closed
            os.environ["TMPDIR"] = tempfile.tempdir = str(self.scratch)


def _answer(plan: Plan, cell: Cell, room: _Room, listener: events.Listener | None) -> None:
    """Runs a cell on what the keeper gives, and tells the keeper what came of it."""
    room.enter()
    if len(room.desks) == 1:
        _answer_at(room.desks[0], plan, cell, listener)
    else:  # none knows what another is given
        for desk in room.desks:
            others = [one for one in room.desks if one is not desk]
            forked(partial(_answer_at, desk, plan, cell, listener), others)
    tell_bytes(ANSWERED)


def _answer_at(desk: Any, plan: Plan, cell: Cell, listener: events.Listener | None) -> None:
    checkpoint = _checkpoint(plan, cell)
    if plan.fresh:
        checkpoint.drop()
    with events.heard_by(listener):
        answer, status, reason = answer_cell(
            cell, partial(sit, desk), plan.device, checkpoint, plan.shares
        )
    here = environment.described(plan.device, plan.protocol.compute.threads)
    try:
        said = packed(answer, here, status, reason)
    except LTBenchError as error:
        said = packed(None, here, "failed", str(error))
    desk.send_bytes(said)


def _say(message: events.Told) -> None:
    tell_bytes(msgspec.msgpack.encode(message))


def _heard_of(plan: Plan, one: _Running) -> Record | events.Told:
    """What a worker says of its progress, or its record as the keeper wrote it."""
    seat, worker = one.seat, one.worker
    assert seat is not None and plan.keeper is not None
    if one.talks:
        try:
            alive = worker.is_alive()  # asked first, as it may say something and end meanwhile
            if worker.answer.poll():
                content = worker.answer.recv_bytes(MOST_WORDS)
                one.answered |= content == ANSWERED
                told: events.Told = msgspec.msgpack.decode(content, type=TOLD)
                return "" if content == ANSWERED else told
            one.talks = alive
        except (EOFError, OSError):
            one.talks = False
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return ""
    if not seat.result.poll():
        if one.talks or one.answered:
            return ""
        reason = worker.death()  # what it started may keep the keeper waiting
        worker.kill()
        seat.result.close()
        return records.write(plan.results, blank(one.cell, HERE, "failed", reason), None)
    try:
        done = seat.result.recv()
    except (EOFError, OSError):
        if not plan.keeper.worker.is_alive():
            raise LTBenchError("what holds the data is gone; run it again") from None
        worker.process.join(POLL)
        if worker.is_alive():
            worker.kill()
        return records.write(plan.results, blank(one.cell, HERE, "failed", worker.death()), None)
    worker.kill()  # with whatever it has left behind
    if isinstance(done, LTBenchError):
        raise done
    assert isinstance(done, Record)
    _checkpoint(plan, one.cell).drop()
    return done


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
        cluster, plan.protocol, plan.loaded, plan.code, plan.device, limits, plan.shares
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


def _received(plan: Plan, one: _Running) -> Record | events.Told:
    """What a worker says next: something from within its cell, or the record at the end."""
    cell, worker = one.cell, one.worker
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
