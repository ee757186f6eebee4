"""What a run would do: the cells that were asked for, those that have a record, and the rest."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ltbench.contract.track import Track
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.registry.registry import Registry
from ltbench.results import records
from ltbench.results.records import Origin, Record, Rejected, same_code
from ltbench.running.cell import Cell
from ltbench.training import environment, events

RESULTS = Path("leaderboards")


@dataclass(frozen=True)
class Plan:
    """The cells that were asked for: those with a record already, and those left to run.

    `code` are the names and sources of single files with methods.
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
    track = registry.track(protocol.track)
    composed = [registry.recipe(text) for text in (*track.floor, *(recipes or protocol.recipes))]
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
        Cell(
            track, protocol, recipe, seed, getattr(source, "fingerprint", ""), origins[text], table
        )
        for seed in range(seeds or protocol.seeds)
        for table, source in sources.items()
        for text, recipe in distinct.items()
    ]
    part, parts = shard
    if not 1 <= part <= parts:
        raise LTBenchError(f"shard {part}/{parts} is none; the first of two is 1/2")
    cells = cells[part - 1 :: parts]
    done = [] if fresh else list(finished(cells, results))
    code = tuple(
        (p.file.name, p.source) for p in registry.plugins if p.file and p.package == "file"
    )
    return Plan(track, protocol, cells, done, dict(sources), where, results, fresh, code)


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


def finished(cells: Iterable[Cell], results: Path) -> Iterator[Record]:
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
        if record.status in ("ok", "skipped") and same_code(record.plugins, cell.origins):
            yield record


def estimate(plan: Plan, jobs: int) -> float:
    """About how many seconds the cells left would take.

    Plain training is measured here, for a moment; a recipe takes as many times of it as its earlier
    cells took, once where there are none.
    """
    protocol = plan.protocol
    earlier: dict[tuple[str, str], list[float]] = {}
    for record in records.read_all(plan.results, protocol.name, protocol.track):
        if isinstance(record, Record):
            units = plan.track.units(record)
            if units is not None:
                earlier.setdefault((record.recipe, record.table), []).append(units)
    with environment.own(protocol.compute.threads, 0):
        plain = {
            table: plan.track.seconds(protocol, source, plan.device)
            for table, source in plan.sources.items()
            if not isinstance(source, LTBenchError)
        }
    expected = 0.0
    for cell in plan.todo:
        usual = plain.get(cell.table, 0.0)
        known = earlier.get((cell.recipe.text, cell.table))
        expected += usual * (statistics.median(known) if known else 1.0)
    return expected / jobs
