"""What a run would do: the cells that were asked for, those that have a record, and the rest."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Track
from ltbench.datasets import places_of_data
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.registry.discovery import core_code
from ltbench.registry.registry import Registry
from ltbench.results import index, records
from ltbench.results.folder import results_folder
from ltbench.results.provenance import SAID
from ltbench.results.records import Record, Rejected, same_code
from ltbench.running.cell import Cell
from ltbench.running.keeper import Keeper
from ltbench.running.processes import apart, can_fork
from ltbench.running.request import seeds_of, shard_of
from ltbench.scoring.measures import stored
from ltbench.training import environment, events

RESULTS = results_folder()


@dataclass(frozen=True)
class Plan:
    """The cells that were asked for: those with a record already, and those left to run.

    `code` are the names and sources of single files with methods, `files` where they stand. Where a
    `keeper` holds the data, `sources` tell of them alone; `closed` are the places that its workers
    then must not open. `shares` says that cells which begin alike share that part of their work.
    """

    track: Track[Any]
    protocol: Protocol
    cells: list[Cell]
    done: list[Record]
    sources: dict[str, Any] = field(repr=False)
    device: torch.device
    results: Path
    fresh: bool = False
    code: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    files: tuple[Path, ...] = field(default=(), repr=False)
    keeper: Keeper | None = field(default=None, repr=False)
    closed: tuple[Path, ...] = field(default=(), repr=False)
    shares: bool = True

    @property
    def remarks(self) -> list[str]:
        """What is to be known of the data before a cell runs: how they were read, or why not."""
        return [
            f"{table or self.protocol.name}: {note}"
            for table, source in self.sources.items()
            for note in ([source] if isinstance(source, LTBenchError) else _notes(source))
        ]

    @property
    def loaded(self) -> Mapping[str, Any]:
        """The data themselves, for cells that run in this process."""
        return self.sources if self.keeper is None else self.keeper.load()

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
    told: events.Told = ""


Watcher = Callable[[Event], None]


def _notes(source: Any) -> Sequence[str]:
    return getattr(source, "notes", ())


def plan(
    registry: Registry,
    protocol_name: str | Path | Protocol,
    recipes: Sequence[str | Method] = (),
    seeds: int | str | Iterable[int] | None = None,
    results: Path = RESULTS,
    device: str = "cpu",
    fresh: bool = False,
    shard: tuple[int, int] = (1, 1),
    elsewhere: bool = False,
    mixed: bool = False,
    sealed: bool = False,
    shares: bool = True,
) -> Plan:
    """What a run would do; the protocol's own recipes and seeds where none are given.

    Recipes are texts or objects, `seeds` how many or which.
    The floor of the track, the recipes that every table of it needs, is added where it is missing.
    Cells go seed by seed, so that any number of finished seeds compares all recipes. `elsewhere`
    says that the device is that of other machines, `mixed` that records of other code of the
    benchmark, or of another device, may stay beside the new ones. `sealed` closes data and results
    to methods, where a keeper holds the data and the kernel has Landlock. Where it
    `shares`, cells that begin alike share what they begin with.

    Raises:
        LTBenchError: anything of the request cannot be met, or the results folder holds records
            that the new ones must not be mixed with.
    """
    protocol = registry.protocol(protocol_name)
    track = registry.track(protocol.track)
    where = _device(device, elsewhere)
    keeper = None
    if type(track).divide is not Track.divide and not elsewhere and can_fork(where):
        load = partial(track.load, registry, protocol)
        keeper = Keeper(track, protocol, load, where)  # before any method is made
    try:
        composed = [registry.recipe(one) for one in (*track.floor, *(recipes or protocol.recipes))]
        chosen = seeds_of(seeds, protocol.seeds)
        told = results, device, fresh, shard, elsewhere, mixed, shares, sealed, keeper
        return planned(registry, protocol, chosen, lambda seed, table: composed, *told)
    except BaseException:
        if keeper is not None:
            keeper.end()
        raise


def planned(
    registry: Registry,
    protocol: Protocol,
    seeds: Sequence[int],
    recipes: Callable[[int, str], Sequence[Recipe]],
    results: Path = RESULTS,
    device: str = "cpu",
    fresh: bool = False,
    shard: tuple[int, int] = (1, 1),
    elsewhere: bool = False,
    mixed: bool = False,
    shares: bool = True,
    sealed: bool = False,
    keeper: Keeper | None = None,
) -> Plan:
    """What a run would do of `recipes` of each seed and table; the rest is as in `plan`.

    The data are read here, unless a `keeper` holds them.

    Raises:
        LTBenchError: as there.
    """
    track = registry.track(protocol.track)
    if elsewhere and registry.objects:
        raise LTBenchError(
            f"{', '.join(registry.objects)} given as objects cannot be sent to Ray; put them into "
            "a file and name that as a plugin"
        )
    if protocol.trial_share and not track.tunes:
        raise LTBenchError(
            f"{protocol.name}: track {track.name} runs no trials; its recipes cannot be tuned"
        )
    where = _device(device, elsewhere)
    sources: Mapping[str, Any]
    if keeper is not None:
        sources = keeper.told
    else:
        sources = track.load(registry, protocol)
        track.plan(protocol, sources, where)
    core = core_code(track.modules(protocol))
    groups, origins_of = [], cache(registry.origins)
    for seed in seeds:
        for table, source in sources.items():
            distinct = {recipe.text: recipe for recipe in recipes(seed, table)}
            fingerprint = getattr(source, "fingerprint", "")
            groups.append(
                [
                    Cell(
                        track, protocol, recipe, seed, fingerprint, origins_of(recipe), table, core
                    )
                    for recipe in distinct.values()
                ]
            )
    part, parts = shard_of(shard)
    cells = dealt(groups, part, parts)
    if not mixed:
        _refuse_unlike(protocol, track, results, cells, fresh, where)
    done = [] if fresh else _done(cells, results, keeper)
    single = [(p.file, p.source) for p in registry.plugins if p.file and p.package == "file"]
    code = tuple((file.name, source) for file, source in single)
    return Plan(
        track,
        protocol,
        cells,
        done,
        dict(sources),
        where,
        results,
        fresh,
        code,
        tuple(file.absolute() for file, _ in single),
        keeper,
        tuple(places_of_data(registry.data.values())) if sealed else (),
        shares and not sealed,  # what others left is theirs
    )


def dealt(groups: Sequence[list[Cell]], part: int, parts: int) -> list[Cell]:
    """The cells of one of several shards, of groups that hold all recipes on one seed and table.

    Whole groups are dealt out as far as they go round, so that paired differences and costs come
    from one machine; the cells of the rest go one by one, each recipe to another shard in turn.
    """
    whole = len(groups) // parts * parts
    dealt = [cell for group in groups[part - 1 : whole : parts] for cell in group]
    for turn, group in enumerate(groups[whole:]):
        dealt += group[(part - 1 - turn) % parts :: parts]
    return dealt


def _refuse_unlike(
    protocol: Protocol,
    track: Track[Any],
    results: Path,
    cells: Sequence[Cell],
    fresh: bool,
    device: torch.device,
) -> None:
    """Refuses to run beside records of other code or another device, before any work is done.

    Raises:
        LTBenchError: there are some that would stay.
    """
    told, _ = index.read(results, protocol.name, stored(track.measures), track.name)
    now = {"code": cells[0].code if cells else None, "device": device.type}
    other = np.zeros(len(told.kinds), dtype=bool)
    why: set[str] = set()
    for k, kind in enumerate(told.kinds):
        for name, here in now.items():
            there = getattr(kind.made, name)
            if here is not None and there is not None and there != here:
                other[k] = True
                why.add(f"{SAID[name]} ({there}) than now ({here})")
    again = {(cell.recipe.text, cell.seed, cell.table) for cell in cells} if fresh else set()
    stay = 0
    for n in np.flatnonzero(other[told.kind]):
        place = (told.recipes[told.recipe[n]], int(told.seed[n]), told.kinds[told.kind[n]].table)
        stay += place not in again
    if stay:
        raise LTBenchError(
            f"{results / protocol.name} holds {stay} records of other {', '.join(sorted(why))}: "
            "redo them with --fresh, choose another --results, or say --mixed to keep them"
        )


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


def _done(cells: Sequence[Cell], results: Path, keeper: Keeper | None) -> list[Record]:
    """The records that are there, read apart where workers are to be forked from here: what they
    keep, labels among it, is read as well."""
    there = any((results / cells[0].protocol.name).glob("records/*/*.json")) if cells else False
    if keeper is None or not there:
        return list(finished(cells, results))
    done: list[Record] = apart(lambda: list(finished(cells, results)))
    return done


def finished(cells: Iterable[Cell], results: Path) -> Iterator[Record]:
    """The records that need not be made again.

    One that failed, whose methods have changed since or whose arrays are not its own is made again.
    """
    for cell in cells:
        name = cell.protocol.name
        path = records.path_of(results, name, cell.recipe.text, cell.seed, cell.table)
        if not path.exists():
            continue
        record = records.read(path)
        if isinstance(record, Rejected):
            raise LTBenchError(f"{record}; move it away, or redo its cell with --fresh")
        if not cell.protocol.counts(record.hash):
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
        counts = record.status in ("ok", "skipped") and same_code(record.plugins, cell.origins)
        if counts and records.is_whole(results, record):
            yield record


def estimate(plan: Plan, jobs: int) -> float:
    """About how many seconds the cells left would take.

    A recipe takes as many times of plain training as its earlier cells took, once where there are
    none. What plain training takes is told by records that this machine made; it is measured for a
    moment where there are none.
    """
    protocol, here = plan.protocol, _machine(environment.machine(), plan.device.type)
    earlier: dict[tuple[str, str], list[float]] = {}
    work: dict[str, list[float]] = {}
    for record in records.read_all(plan.results, protocol.name, protocol.track):
        if not isinstance(record, Record) or record.timing is None:
            continue
        units = plan.track.units(record)
        if units is not None:
            earlier.setdefault((record.recipe, record.table), []).append(units)
        if _machine(record.environment, record.environment.get("device")) == here:
            work.setdefault(record.table, []).append(record.timing.reference_work)
    plain = {table: statistics.median(known) for table, known in work.items()}
    unknown = {cell.table for cell in plan.todo} - plain.keys()
    with environment.own(protocol.compute.threads, 0):
        for table in sorted(unknown):
            source = plan.sources.get(table)
            if not isinstance(source, LTBenchError):
                plain[table] = (
                    plan.track.seconds(protocol, source, plan.device)
                    if plan.keeper is None
                    else plan.keeper.seconds(table, plan.device)
                )
    expected = 0.0
    for cell in plan.todo:
        usual = plain.get(cell.table, 0.0)
        known = earlier.get((cell.recipe.text, cell.table))
        expected += usual * (statistics.median(known) if known else 1.0)
    return expected / jobs


def _machine(told: Mapping[str, Any], device: str | None) -> list[Any]:
    """What decides how long a cell takes, as far as a record tells."""
    return [*(told.get(key) for key in ("cpu", "processor", "cores")), device]
