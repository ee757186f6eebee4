"""Cells on a cluster of Ray: dealt out by what they need, each in a forked process on its node.

Only the run that asked writes records, so that claims, records and resuming are as everywhere.
"""

import logging
import os
import socket
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import msgspec
import torch

from ltbench.contract.track import Arrays
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.registry.discovery import core_code
from ltbench.registry.registry import Registry
from ltbench.results.records import Origin, Record
from ltbench.running.cell import HERE, Cell, blank, run_cell
from ltbench.running.processes import Died, Limits, Worker, can_fork
from ltbench.training import environment
from ltbench.training.threads import VARIABLES

RETRIES = 3  # of a cell whose node or worker died
SAME_CODE = "all nodes need this version of ltbench, and all methods, installed"

Outcome = tuple[Record, Arrays | None]


@dataclass(frozen=True)
class Cluster:
    """Which Ray to use; without an address one that is started here, for this run.

    `gpu_share` is the part of a GPU that a cell takes; `jobs` are the cells at a time, without it
    as many as there is room for.
    """

    address: str | None = None
    gpu_share: float = 1.0
    jobs: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.gpu_share <= 1:
            raise LTBenchError(
                f"a GPU share of {self.gpu_share:g} is none; 0.25 puts four cells on a GPU"
            )


@dataclass(frozen=True)
class Task:
    """A cell as it travels: protocol and recipe as text would have them, and the code of files."""

    protocol: dict[str, Any]
    hash: str
    recipe: str
    seed: int
    table: str
    fingerprint: str
    origins: dict[str, Origin]
    core: str
    code: tuple[tuple[str, str], ...]
    device: str
    limits: Limits
    shares: bool


class Pool:
    """The cells in hand on a cluster; leaving it stops those that are not done.

    Raises:
        LTBenchError: there is no Ray, no cluster at the address, or no node that a cell fits on.
    """

    def __init__(
        self,
        cluster: Cluster,
        protocol: Protocol,
        sources: Mapping[str, Any],
        code: tuple[tuple[str, str], ...],
        device: torch.device,
        limits: Limits,
        shares: bool = True,
    ) -> None:
        self.cluster, self.code, self.device, self.limits = cluster, code, device, limits
        self.shares = shares
        self.cpus = protocol.compute.threads
        self.gpus = cluster.gpu_share if device.type == "cuda" else 0.0
        self.ray, self.ours = _connected(cluster.address)
        self.in_hand: dict[Any, Cell] = {}
        self.sources = self.ray.put(dict(sources))
        self.work = self.ray.remote(_work).options(
            num_cpus=self.cpus,
            num_gpus=self.gpus,
            max_retries=RETRIES,
            runtime_env={"env_vars": dict.fromkeys(VARIABLES, "1")},
        )

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *raised: object) -> None:
        for ref in self.in_hand:
            self.ray.cancel(ref, force=True)
        if self.ours:
            self.ray.shutdown()

    def has_room(self) -> bool:
        """Whether one more cell could begin now.

        Raises:
            LTBenchError: no node could take any.
        """
        if self.cluster.jobs is not None:
            return len(self.in_hand) < self.cluster.jobs
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        room = sum(fitting(node, self.cpus, self.gpus) for node in nodes)
        if not room:
            gpu = f" and {self.gpus:g} of a GPU" if self.gpus else ""
            raise LTBenchError(
                f"a cell needs {self.cpus} CPUs{gpu}, which none of the {len(nodes)} nodes of the "
                "cluster has; if it can grow, say with --jobs how many cells to hand it"
            )
        return len(self.in_hand) < room

    def begin(self, cell: Cell) -> None:
        task = packed(cell, self.code, self.device, self.limits, self.shares)
        self.in_hand[self.work.remote(task, [self.sources])] = cell

    def ended(self, timeout: float) -> tuple[Cell, Outcome] | None:
        """A cell that has ended and what became of it; waits for one, at most so long.

        Raises:
            LTBenchError: the cluster cannot run cells.
        """
        if not self.in_hand:
            time.sleep(timeout)
            return None
        try:
            refs, _ = self.ray.wait(list(self.in_hand), timeout=timeout)
            return (self.in_hand[refs[0]], self._outcome(refs[0])) if refs else None
        except (self.ray.exceptions.RayError, ConnectionError) as error:
            raise LTBenchError(
                f"the Ray cluster cannot run cells: {_first_line(error)}; {SAME_CODE}"
            ) from error

    def _outcome(self, ref: Any) -> Outcome:
        cell, died = self.in_hand.pop(ref), self.ray.exceptions
        try:
            outcome: Outcome | str = self.ray.get(ref)
        except died.OutOfMemoryError as error:
            return blank(cell, HERE, "out-of-memory", _first_line(error)), None
        except (died.WorkerCrashedError, died.NodeDiedError, died.ObjectLostError):
            return blank(cell, HERE, "failed", f"its node died, {RETRIES + 1} times over"), None
        if isinstance(outcome, str):
            raise LTBenchError(outcome)
        return outcome


def fitting(node: Mapping[str, float], cpus: int, gpus: float) -> int:
    """How many cells that need so many CPUs, and such a part of a GPU, a node can run at once."""
    room = int(node.get("CPU", 0) // cpus)
    return min(room, int(node.get("GPU", 0)) * int(1 / gpus + 1e-9)) if gpus else room


def _connected(address: str | None) -> tuple[Any, bool]:
    """Ray, and whether it was this call that connected to it."""
    try:
        import ray
    except ImportError:
        raise LTBenchError("ray is not installed; pip install 'ltbench[ray]' brings it") from None
    if ray.is_initialized():
        return ray, False
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    try:
        _require_answer(address)
        if address == "local":
            ray.init(
                "local",
                num_cpus=environment.usable_cores(),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        else:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        told = f"no Ray cluster answers at {address}: {_first_line(error)}"
        raise LTBenchError(told) from error
    return ray, True


def _require_answer(address: str) -> None:
    """Knocks at an address, as Ray itself waits for minutes where nobody is."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _first_line(error: BaseException) -> str:
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _work(task: Task, stored: list[Any]) -> Outcome | str:
    """Runs a cell where it has been sent; a text tells why no cell of this run can be run here."""
    try:
        cell = unpacked(task)
    except LTBenchError as error:
        return f"node {os.uname().nodename}: {error}"
    source, device = _fetched(stored[0])[task.table], torch.device(task.device)
    if not can_fork(device):
        return run_cell(cell, source, device, shares=task.shares)
    environment.import_ahead()
    return run_apart(cell, source, device, task.limits, task.shares)


def packed(
    cell: Cell,
    code: tuple[tuple[str, str], ...],
    device: torch.device,
    limits: Limits,
    shares: bool = True,
) -> Task:
    return Task(
        protocol=msgspec.to_builtins(cell.protocol),
        hash=cell.protocol.hash,
        recipe=cell.recipe.text,
        seed=cell.seed,
        table=cell.table,
        fingerprint=cell.fingerprint,
        origins=cell.origins,
        core=cell.code,
        code=code,
        device=device.type,
        limits=limits,
        shares=shares,
    )


def unpacked(task: Task, registry: Registry | None = None) -> Cell:
    """The cell of a task, of the same code as where it came from; `registry` has its files.

    Raises:
        LTBenchError: the code here is another.
    """
    registry = registry or _registry(task.code)
    track = registry.track(task.protocol["track"])
    protocol = track.read("protocol", task.protocol)
    if protocol.hash != task.hash:
        raise LTBenchError(f"protocol {protocol.name} reads otherwise here; {SAME_CODE}")
    recipe = registry.recipe(task.recipe)
    for method in recipe.methods:
        plugin, origin = registry.owner(method.name), task.origins[method.name]
        here = (plugin.digest, plugin.imported, plugin.core)
        if here != (origin.source, origin.imported, origin.core):
            raise LTBenchError(f"method {method.name} is of other code here; {SAME_CODE}")
    core = core_code(track.modules(protocol))
    if core != task.core:
        raise LTBenchError(f"ltbench is of other code here; {SAME_CODE}")
    fixed = (task.seed, task.fingerprint, task.origins, task.table)
    return Cell(track, protocol, recipe, *fixed, core)


@lru_cache(maxsize=1)
def _registry(code: tuple[tuple[str, str], ...]) -> Registry:
    with tempfile.TemporaryDirectory(prefix="ltbench-") as folder:
        files = []
        for k, (name, source) in enumerate(code):
            files.append(Path(folder, str(k), name))
            files[-1].parent.mkdir()
            files[-1].write_text(source, encoding="utf-8")
        registry = Registry(files)
        for plugin in registry.plugins:
            if plugin.package == "file":
                assert plugin.digest  # read while there is a file
        return registry


@lru_cache(maxsize=1)
def _fetched(stored: Any) -> dict[str, Any]:
    """The data of a run, copied out of the object store once for all its cells in a worker."""
    import ray

    sources: dict[str, Any] = ray.get(stored)
    return sources


def run_apart(
    cell: Cell, source: Any, device: torch.device, limits: Limits, shares: bool = False
) -> Outcome:
    """What becomes of a cell in a forked process of its own that is held to limits."""
    try:
        outcome: Outcome = Worker(
            partial(run_cell, cell, source, device, shares=shares), limits
        ).result()
        return outcome
    except Died as death:
        return blank(cell, HERE, *death.args), None
