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
from typing import TYPE_CHECKING, Any

import torch

from ltbench import checkpoints, environment, midway, records, tracks
from ltbench.cell import Cell, blank, run_cell
from ltbench.checkpoints import Checkpoint
from ltbench.claims import Claims
from ltbench.errors import LTBenchError
from ltbench.observers import chosen, watched
from ltbench.processes import Limits, Worker, can_fork, tell
from ltbench.protocols import Protocol
from ltbench.records import Origin, Record, Rejected, same_code
from ltbench.registry import Registry, registry_of

if TYPE_CHECKING:
    from ltbench.on_ray import Cluster

RESULTS = Path("leaderboards")
POLL = 0.5  # seconds between looks at what is running


@dataclass(frozen=True)
class Plan:
    """The cells that were asked for: those with a record already, and those left to run.

    `code` are the names and sources of single files with methods.
    """

    protocol: Protocol
    cells: list[Cell]
    done: list[Record]
    sources: dict[str, Any] = field(repr=False)
    device: torch.device
    results: Path
    fresh: bool = False
    code: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def todo(self) -> list[Cell]:
        have = {(record.recipe, record.table, record.seed) for record in self.done}
        return [c for c in self.cells if (c.recipe.text, c.table, c.seed) not in have]


@dataclass(frozen=True)
class Event:
    """A cell began, ended with a record, or told something in between; none, as a sign of life."""

    began: Cell | None = None
    ended: Record | None = None
    within: Cell | None = None
    told: midway.Told = ""


Watcher = Callable[[Event], None]


def plan(
    registry: Registry,
    protocol_name: str | Path,
    recipes: Sequence[str] = (),
    seeds: int | None = None,
    results: Path = RESULTS,
    device: str = "cpu",
    fresh: bool = False,
    shard: tuple[int, int] = (1, 1),
    elsewhere: bool = False,
) -> Plan:
    """What a run would do; the protocol's own recipes and seeds where none are given.

    The floor of the track, the recipes that every table of it needs, is added where it is missing.
    Cells go seed by seed, so that any number of finished seeds compares all recipes. `elsewhere`
    says that the device is that of other machines.

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
    where = _device(device, elsewhere)
    track.plan(protocol, sources, torch.device("cpu") if elsewhere else where)
    distinct = {recipe.text: recipe for recipe in composed}
    origins = {
        text: {
            method.name: Origin(plugin.package, plugin.version, plugin.digest, plugin.imported)
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
    code = tuple(
        (p.file.name, p.source) for p in registry.plugins if p.file and p.package == "file"
    )
    return Plan(protocol, cells, done, sources, where, results, fresh, code)


def _device(name: str, elsewhere: bool = False) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise LTBenchError(f"unknown device {name!r}; known: cpu, cuda, cuda:1, ...") from None
    if device.type not in ("cpu", "cuda"):
        raise LTBenchError(f"device {name!r} is not supported; known: cpu, cuda, cuda:1, ...")
    if elsewhere:
        if device.index is not None:
            raise LTBenchError(f"device {name!r}: Ray deals out the GPUs; say {device.type!r}")
    elif device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
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
        if record.status in ("ok", "skipped") and same_code(record.plugins, cell.origins):
            yield record


def execute(
    plan: Plan,
    jobs: int = 1,
    limits: Limits | None = None,
    stopping: Callable[[], bool] = lambda: False,
    cluster: "Cluster | None" = None,
    watch: Watcher | None = None,
) -> Iterator[Event]:
    """Runs the cells that are left and writes a record of each.

    With one job and no `limits` the cells run in this process; else each runs in a forked one of
    its own, which shares the data and costs a few milliseconds. Where forking is not safe, which is
    everywhere but on Linux and with a GPU, they run here after all. Cells that another run has in
    hand are left to it, and waited for. Once `stopping` says so, no cell is begun; those in hand
    are finished. With a `cluster` all this holds for cells that run there. What cells tell before
    they end goes to `watch`, which must not raise: this process may be in the midst of one.

    Raises:
        LTBenchError: a record cannot be written, or limits cannot be kept here.
    """
    records.require_writable(plan.results / plan.protocol.name)
    waiting, claims = deque(plan.todo), Claims(plan.results, plan.protocol.name)
    if cluster is not None:
        if waiting:
            yield from _on_cluster(plan, cluster, limits or Limits(), waiting, claims, stopping)
        return
    forking = can_fork() and plan.device.type == "cpu"
    if limits and not forking:
        raise LTBenchError("a timeout and a limit of memory need Linux and the device cpu")
    if forking and (jobs > 1 or limits is not None):
        yield from _in_processes(plan, jobs, limits or Limits(), waiting, claims, stopping, watch)
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


def _heard(cell: Cell, watch: Watcher) -> midway.Listener:
    return lambda message: watch(Event(within=cell, told=message))


def _run_and_write(plan: Plan, cell: Cell, listener: midway.Listener | None) -> Record:
    checkpoint = _checkpoint(plan, cell)
    if plan.fresh:
        checkpoint.drop()
    with midway.heard_by(listener):
        source = plan.sources[cell.table]
        record, predictions = run_cell(cell, source, plan.device, checkpoint)
    record = records.write(plan.results, record, predictions)
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
    try:
        while running or (waiting and not stopping()):
            while len(running) < jobs and not stopping():
                cell = yield from _claimed(plan, waiting, claims)
                if cell is None:
                    break
                worker = Worker(partial(_work, plan, cell, tell if watch else None), limits)
                running[worker.answer] = (cell, worker)
                yield Event(began=cell)
            ready = set(wait(list(running), timeout=POLL))
            if not ready:
                yield Event()
            for answer, (cell, worker) in list(running.items()):
                said: Record | midway.Told = ""
                if answer in ready or not worker.process.is_alive():
                    said = _received(plan, cell, worker)
                    if watch and not isinstance(said, Record):
                        watch(Event(within=cell, told=said))
                if worker.overdue and not isinstance(said, Record):
                    worker.kill()
                    reason = f"killed after {limits.timeout:g} s{worker.last_words()}"
                    said = blank(cell, plan.device, "timeout", reason)
                    said = records.write(plan.results, said, None)
                if isinstance(said, Record):
                    del running[answer]
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
    from ltbench.on_ray import Pool

    if limits.memory is not None and plan.device.type != "cpu":
        raise LTBenchError("a limit of memory needs the device cpu")
    with Pool(cluster, plan.protocol, plan.sources, plan.code, plan.device, limits) as pool:
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
            cell, (record, predictions) = ended
            record = records.write(plan.results, record, predictions)
            claims.release(cell)
            yield Event(ended=record)


def _work(plan: Plan, cell: Cell, listener: midway.Listener | None) -> Record | LTBenchError:
    try:
        return _run_and_write(plan, cell, listener)
    except LTBenchError as error:
        return error


def _received(plan: Plan, cell: Cell, worker: Worker) -> Record | midway.Told:
    """What a worker says next: something from within its cell, or the record at the end."""
    try:
        if not worker.answer.poll():  # it is dead, but what it started keeps the pipe open
            raise EOFError
        answer = worker.answer.recv()
    except (EOFError, OSError, pickle.UnpicklingError):
        record = blank(cell, plan.device, "failed", worker.death())
        answer = records.write(plan.results, record, None)
    if isinstance(answer, midway.Told):
        return answer
    worker.kill()  # with whatever it has left behind
    if isinstance(answer, LTBenchError):
        raise answer
    assert isinstance(answer, Record)
    return answer


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
            if record.compressed is not None and record.timing is not None:
                costs[0] += record.compressed.twin_seconds / record.timing.reference_work
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
    cluster: "Cluster | None" = None,
    plugins: Iterable[str | Path] = (),
    data: Mapping[str, str | Path] | None = None,
    watch: Watcher = lambda event: None,
    observe: Sequence[str] = (),
) -> list[Record]:
    """Runs a protocol's recipes and returns a record of each cell, old ones included.

    `recipes` and `seeds` are the protocol's own where none are given. `shard` (2, 5) is the second
    of five parts of the cells. `timeout` (seconds) and `memory` (MB) are what one cell may take.
    `cluster` says on which Ray to run them, if on any. `plugins` are paths of single files with
    methods of your own, `data` the paths of data sets of your own by name. `watch` is called when
    a cell begins or ends. `observe` names observers, as "tensorboard=FOLDER".

    Raises:
        LTBenchError: the request cannot be met, or a record cannot be written.
    """
    registry = registry_of(plugins, data)
    observers = chosen(registry, observe)
    planned = plan(
        registry,
        protocol,
        recipes,
        seeds,
        Path(results),
        device,
        fresh,
        shard,
        elsewhere=cluster is not None,
    )
    limits = Limits(timeout, memory) if timeout or memory else None
    made = []
    with watched(planned, observers) as told:
        for event in execute(planned, jobs, limits, cluster=cluster, watch=told):
            told(event)
            watch(event)
            if event.ended is not None:
                made.append(event.ended)
    return sorted([*planned.done, *made], key=lambda record: (record.recipe, record.seed))
