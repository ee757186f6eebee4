"""How things stand: the cells of a protocol, and the machine that would run them."""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from ltbench import environment, records
from ltbench.claims import Claims
from ltbench.errors import LTBenchError
from ltbench.execute import Plan, estimate
from ltbench.records import Record
from ltbench.registry import Registry

FAULTS = ("failed", "timeout", "out-of-memory")


class Standing(Struct, frozen=True):
    """What became of the cells that a request asks for, and about how long the rest takes.

    `running` are in the hands of other runs, `left` have no record that counts and nobody at them.
    """

    protocol: str
    cells: int
    done: dict[str, int]
    faults: dict[str, str]
    running: list[str]
    left: int
    seconds: float


def standing(plan: Plan, jobs: int) -> Standing:
    """How far the cells of a plan have come."""
    claims = Claims(plan.results, plan.protocol.name)
    running = [str(cell) for cell in plan.todo if claims.taken(cell)]
    return Standing(
        protocol=plan.protocol.name,
        cells=len(plan.cells),
        done=dict(Counter(record.status for record in plan.done)),
        faults=dict(_faults(plan)),
        running=running,
        left=len(plan.todo) - len(running),
        seconds=round(estimate(plan, jobs), 1) if plan.todo else 0.0,
    )


def _faults(plan: Plan) -> Iterator[tuple[str, str]]:
    """The cells that ended badly, and why; a run tries them again."""
    for cell in plan.todo:
        name = cell.protocol.name
        path = records.path_of(plan.results, name, cell.recipe.text, cell.seed, cell.table)
        record = records.read(path) if path.exists() else None
        if isinstance(record, Record) and record.status in FAULTS:
            yield str(cell), f"{record.status}: {record.reason}"


def examined(registry: Registry, results: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """What decides whether, and how fast, cells run here; part by part, as data take a while."""
    import torch

    from ltbench.datasets import data_folder, folders_with_data

    machine = environment.machine()
    yield "machine", machine
    yield (
        "threads",
        {
            "cores to use": usable_cores(),
            "torch": torch.get_num_threads(),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        },
    )
    gpus = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    yield "devices", {"cpu": machine["cpu"], "gpus": gpus}
    yield "disk", {f"free at {place}": _free(place) for place in (results, data_folder())}
    yield "data", {"folder": str(data_folder()), "there": data_folder().is_dir()}
    for path in folders_with_data():
        yield f"data {path.name}", _read(lambda name=path.name: registry.dataset(name)())
    for name in registry.tables():
        yield f"data {name}", _read(lambda name=name: registry.table(name)[1])
    registry.load_all()
    yield (
        "plugins",
        {
            "methods": len(registry.methods()),
            "left out": [str(left_out) for left_out in registry.left_out],
        },
    )


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _free(place: Path) -> str:
    there = next((p for p in (place, *place.absolute().parents) if p.exists()), Path("."))
    return f"{shutil.disk_usage(there).free / 2**30:.1f} GiB"


def _read(load: Any) -> dict[str, Any]:
    try:
        found = load()
    except LTBenchError as error:
        return {"cannot be read": str(error)}
    return {"fingerprint": getattr(found, "fingerprint", found)}
