"""The functions that ltbench is used by from Python."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ltbench.boards.reading import read
from ltbench.contract.recipes import Recipe
from ltbench.protocols.schema import Protocol
from ltbench.registry.registry import registry_of
from ltbench.results.records import Record
from ltbench.running.execute import execute
from ltbench.running.observers import chosen, watched
from ltbench.running.plan import RESULTS, Watcher, plan
from ltbench.running.processes import Limits

if TYPE_CHECKING:
    import pandas

    from ltbench.running.cluster import Cluster


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
    mixed: bool = False,
) -> list[Record]:
    """Runs a protocol's recipes and returns a record of each cell, old ones included.

    `recipes` and `seeds` are the protocol's own where none are given. `shard` (2, 5) is the second
    of five parts of the cells. `timeout` (seconds) and `memory` (MB) are what one cell may take.
    `cluster` says on which Ray to run them, if on any. `plugins` are paths of single files with
    methods of your own, `data` the paths of data sets of your own by name. `watch` is called when
    a cell begins or ends. `observe` names observers, as "tensorboard=FOLDER".
    `mixed` lets records of other code of the benchmark, or of another device, stand beside.

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
        mixed=mixed,
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


def leaderboard(
    protocol: str | Path,
    results: str | Path = RESULTS,
    plugins: Iterable[str | Path] = (),
    mixed: bool = False,
) -> "pandas.DataFrame":
    """The leaderboard of a protocol as a frame, a row for each recipe, best first.

    With `mixed`, records of several codes or devices stand together.

    Raises:
        LTBenchError: there are no records, or they cannot be put together.
    """
    return read(registry_of(plugins), protocol, Path(results), mixed).board.frame()


def recipe(text: str, plugins: Iterable[str | Path] = ()) -> Recipe:
    """The composed method that a text such as "ldam+drw+sam(rho=0.8)" spells.

    Raises:
        LTBenchError: a malformed text, an unknown name or parameter, a conflict.
    """
    return registry_of(plugins).recipe(text)


def protocol(name: str | Path, plugins: Iterable[str | Path] = ()) -> Protocol:
    """The protocol of a name, or of a TOML file's path.

    Raises:
        LTBenchError: an unknown name, or a file that states no protocol.
    """
    return registry_of(plugins).protocol(name)
