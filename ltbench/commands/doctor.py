"""ltbench doctor: the machine, the data and the plugins, examined."""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ltbench.commands.options import JSON, PLUGINS, RESULTS, registry_of
from ltbench.commands.printing import Command, print_entry, print_json, say
from ltbench.errors import LTBenchError

if TYPE_CHECKING:
    from ltbench.registry.registry import Registry


EXTRAS = ("torchvision", "pyarrow", "ray", "lightgbm", "xgboost", "tensorboard", "mlflow-skinny")
"""Packages that parts of ltbench ask for, if they are there."""


@click.command("doctor", cls=Command)
@click.argument("protocols", nargs=-1, metavar="[PROTOCOL]...")
@JSON
@RESULTS
@PLUGINS
def command(
    protocols: Sequence[str], as_json: bool, results: Path, plugins: Sequence[str], strict: bool
) -> None:
    """Examine the machine, the data folder and the plugins; exit code 1 says that some is amiss.

    With PROTOCOLs, hold every record of theirs against the arrays beside it instead, and the data
    against what a protocol declares of them.
    """
    registry = registry_of(plugins, strict)
    looked = (
        ((name, _records(registry, name, results)) for name in protocols)
        if protocols
        else examined(registry, results)
    )
    found: dict[str, dict[str, Any]] = {}
    for part, told in looked:
        found[part] = told
        if not as_json:
            print_entry({part: told})
    amiss = [part for part, told in found.items() if told.get("cannot be read")]
    amiss += [reason for told in found.values() for reason in told.get("do not count", ())]
    amiss += found.get("plugins", {}).get("left out", [])
    verdict = f"{len(amiss)} problem{'s' * (len(amiss) > 1)}: {'; '.join(amiss)}"
    if as_json:
        print_json({**found, "problems": amiss})
    else:
        say(verdict if amiss else "no problems")
    sys.exit(1 if amiss else 0)


def examined(registry: "Registry", results: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """What decides whether, and how fast, cells run here; part by part, as data take a while."""
    import torch

    from ltbench.datasets import data_folder, folders_with_data
    from ltbench.training import environment

    machine = environment.machine()
    yield "machine", machine
    yield "extras", {package: _version(package) for package in EXTRAS}
    yield (
        "threads",
        {
            "cores to use": environment.usable_cores(),
            "torch": torch.get_num_threads(),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        },
    )
    gpus = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    yield "devices", {"cpu": machine["cpu"], "gpus": gpus}
    yield "disk", {f"free at {place}": _free(place) for place in (results, data_folder())}
    yield "data", {"folder": str(data_folder()), "there": data_folder().is_dir()}
    beside = [path.name for path in folders_with_data()]
    for name in [*beside, *registry.datasets_of_plugins()]:
        yield f"data {name}", _read(lambda name=name: registry.dataset(name)())
    registry.load_all()
    yield (
        "plugins",
        {
            "methods": len(registry.methods()),
            "left out": [str(left_out) for left_out in registry.left_out],
        },
    )


def _records(registry: "Registry", name: str, results: Path) -> dict[str, Any]:
    """Whether what the records of a protocol tell follows from what is kept beside them.

    Raises:
        LTBenchError: the protocol is unknown, or there are no records.
    """
    from ltbench.boards.verifying import contradicted
    from ltbench.results import records
    from ltbench.results.reading import refuse_none

    protocol = registry.protocol(name)
    track = registry.track(protocol.track)
    declared = _declared(track, registry, protocol)
    every = list(records.read_all(results, protocol.name, track.name))
    found = [one for one in every if isinstance(one, records.Record)]
    rejected = [one for one in every if isinstance(one, records.Rejected)]
    if not declared:
        refuse_none(protocol, results, len(found), rejected)
    bad = [*rejected, *contradicted(track, protocol, results, found)]
    without = sum(record.status == "ok" and not record.arrays for record in found)
    return {
        **declared,
        "records": len(every),
        "without arrays": without,
        "do not count": [f"{one.path}: {one.reason}" for one in bad],
    }


def _declared(track: Any, registry: "Registry", protocol: Any) -> dict[str, Any]:
    """Whether data are as the protocol declares; nothing where it declares nothing."""
    tables = getattr(protocol, "tables", None) or {"": getattr(protocol, "data", None)}
    rules = sum(len(getattr(data, "holds", ())) for data in tables.values())
    if not rules:
        return {}
    try:
        sources = track.load(registry, protocol)
        for source in sources.values():
            if isinstance(source, LTBenchError):
                raise source
    except LTBenchError as error:
        return {"cannot be read": str(error)}
    return {"declared of the data": f"{rules} holds" if rules == 1 else f"all {rules} hold"}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _free(place: Path) -> str:
    there = next((p for p in (place, *place.absolute().parents) if p.exists()), Path("."))
    return f"{shutil.disk_usage(there).free / 2**30:.1f} GiB"


def _read(load: Any) -> dict[str, Any]:
    try:
        found = load()
    except LTBenchError as error:
        return {"cannot be read": str(error)}
    return {"fingerprint": getattr(found, "fingerprint", found)}
