"""The functions that ltbench is used by from Python."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltbench.boards import shipped
from ltbench.boards.reading import read
from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.registry.registry import Registry, registry_of
from ltbench.results.reading import records_of, refuse_none
from ltbench.results.records import Record
from ltbench.running.execute import execute
from ltbench.running.observers import chosen, watched
from ltbench.running.plan import RESULTS, Watcher, plan
from ltbench.running.request import jobs_of, limits_of, path, several, shard_of
from ltbench.running.skips import settled
from ltbench.texts import line
from ltbench.training.environment import usable_cores

if TYPE_CHECKING:
    import pandas
    import torch

    from ltbench.running.cluster import Cluster


def run(
    protocol: str | Path | Protocol,
    recipes: str | Method | Iterable[str | Method] = (),
    seeds: int | str | Iterable[int] | None = None,
    *,
    results: str | Path = RESULTS,
    jobs: int | None = None,
    device: "str | torch.device" = "cpu",
    fresh: bool = False,
    shard: tuple[int, int] | str = (1, 1),
    timeout: float | None = None,
    memory: float | None = None,
    cluster: "Cluster | None" = None,
    plugins: str | Path | Iterable[str | Path] = (),
    data: Mapping[str, str | Path] | None = None,
    watch: Watcher = lambda event: None,
    observe: str | Iterable[str] = (),
    progress: bool | None = None,
    mixed: bool = False,
    sharing: bool = True,
) -> list[Record]:
    """Runs a protocol's recipes and returns a record of each cell, old ones included.

    `recipes` are texts, methods or recipes, `seeds` how many or which; both are the protocol's own
    where none are given. `jobs` cells run at a time, as many as cores by default. `shard` (2, 5) is
    the second of five parts of the cells. `timeout` (seconds) and `memory` (MB) are what one cell
    may take. `cluster` says on which Ray to run them, if on any. `plugins` are paths of single
    files with methods of your own, `data` the paths of data sets of your own by name. `watch` is
    called when a cell begins or ends. `observe` names observers, as "tensorboard=FOLDER".
    `progress` shows how far the run is; where it is not given, on a terminal. `mixed` lets records
    of other code of the benchmark, or of another device, stand beside. Without `sharing` each cell
    trains everything itself.

    Raises:
        LTBenchError: the request cannot be met, or a record cannot be written.
    """
    asked = [*several("recipes", recipes)]
    registry = _registry(plugins, data, fresh=not all(isinstance(one, str) for one in asked))
    if not callable(watch):
        raise LTBenchError(f"watch {line(watch, repr)} is no function")
    told = [_text("observer", one) for one in several("observers", observe)]
    observers = chosen(registry, told)
    limits = limits_of(timeout, memory)
    planned = plan(
        registry,
        protocol,
        asked,
        seeds,
        path("results", results),
        str(device),
        bool(fresh),
        shard_of(shard),
        elsewhere=cluster is not None,
        mixed=mixed,
        shares=bool(sharing),
    )
    at_once = jobs_of(jobs, max(1, usable_cores() // planned.protocol.compute.threads))
    if sys.stderr.isatty() if progress is None else progress:
        from ltbench.commands.progress import view

        observers = {"progress": view(), **observers}
    made = []
    with watched(planned, observers) as seen:
        for event in execute(planned, at_once, limits or None, cluster=cluster, watch=seen):
            seen(event)
            watch(event)
            if event.ended is not None:
                made.append(event.ended)
    every = [*planned.done, *settled(planned, made)]
    latest = {(record.recipe, record.table, record.seed): record for record in every}
    return sorted(latest.values(), key=lambda record: (record.recipe, record.seed))


def leaderboard(
    protocol: str | Path | Protocol,
    results: str | Path = RESULTS,
    plugins: str | Path | Iterable[str | Path] = (),
    mixed: bool = False,
    own: bool = False,
) -> "pandas.DataFrame":
    """The leaderboard of a protocol as a frame, a row for each recipe, best first.

    With `mixed`, records of several codes or devices stand together. Rows stand among the published
    ones that an installed ltbench brings along, unless they shall be your `own` alone.

    Raises:
        LTBenchError: there are no records, or they cannot be put together.
    """
    registry, place = _registry(plugins), path("results", results)
    if own or not shipped.serve(place):
        return read(registry, protocol, place, mixed).board.frame()
    problem = registry.protocol(protocol)
    with shipped.among(place, problem) as there:
        return read(registry, problem, there.results, mixed or there.mixed).board.frame()


def records(
    protocol: str | Path | Protocol,
    results: str | Path = RESULTS,
    plugins: str | Path | Iterable[str | Path] = (),
    mixed: bool = False,
) -> "pandas.DataFrame":
    """The records of a protocol that count, a row each: where it comes from, its cost, measures.

    Measures are as they are stored, most of them shares; `cost` is in units of plain training.

    Raises:
        LTBenchError: there are no records, or they cannot be put together.
    """
    import pandas

    rows = []
    for one in _counted(protocol, results, plugins, mixed):
        cost = one.timing.relative if one.timing is not None else None
        told = {"recipe": one.recipe, "table": one.table, "seed": one.seed, "status": one.status}
        rows.append({**told, "reason": one.reason, "cost": cost, **one.measures})
    return pandas.DataFrame(rows)


def recalls(
    protocol: str | Path | Protocol,
    results: str | Path = RESULTS,
    plugins: str | Path | Iterable[str | Path] = (),
    mixed: bool = False,
) -> "pandas.DataFrame":
    """The recall of each class in each record that counts, a row each, with its training rows.

    Classes are numbered by their labels; a recall is NaN where there was no test row.

    Raises:
        LTBenchError: as `records`.
    """
    import pandas

    rows = [
        {"recipe": one.recipe, "seed": one.seed, "class": c, "rows": count, "recall": recall}
        for one in _counted(protocol, results, plugins, mixed)
        if one.recall
        for c, (count, recall) in enumerate(zip(one.class_counts, one.recall, strict=True))
    ]
    columns = ["recipe", "seed", "class", "rows", "recall"]
    return pandas.DataFrame(rows, columns=columns).astype({"recall": float})


def _counted(given: Any, results: Any, plugins: Any, mixed: bool) -> list[Record]:
    registry, place = _registry(plugins), path("results", results)
    problem = registry.protocol(given)
    found, rejected = records_of(problem, place, registry.origin, mixed)
    refuse_none(problem, place, len(found), rejected)
    return sorted(found, key=lambda one: (one.recipe, one.table, one.seed))


def recipe(given: str | Method, plugins: str | Path | Iterable[str | Path] = ()) -> Recipe:
    """The composed method that a text such as "ldam+drw+sam(rho=0.8)" spells, or a method is.

    Raises:
        LTBenchError: a malformed text, an unknown name or parameter, a conflict.
    """
    return _registry(plugins, fresh=not isinstance(given, str)).recipe(given)


def protocol(
    name: str | Path | Protocol, plugins: str | Path | Iterable[str | Path] = ()
) -> Protocol:
    """The protocol of a name, or of a TOML file's path.

    Raises:
        LTBenchError: an unknown name, or a file that states no protocol.
    """
    return _registry(plugins).protocol(name)


def _registry(
    plugins: Any, data: Mapping[str, str | Path] | None = None, fresh: bool = False
) -> Registry:
    """The registry with single files and named data; a `fresh` one is not kept for other calls."""
    files = [path("plugin", one) for one in several("plugins", plugins)]
    if data is not None and not isinstance(data, Mapping):
        raise LTBenchError(f"data {line(data, repr)}: expected paths by name")
    given = {_text("data", name): path("data", one) for name, one in (data or {}).items()}
    if fresh or given:
        return Registry(files, data=given)
    return registry_of(files)


def _text(what: str, given: Any) -> str:
    if not isinstance(given, str) or not given:
        raise LTBenchError(f"{what} {line(given, repr)} is no text")
    return given
