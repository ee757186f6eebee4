"""One protocol x recipe x seed: run it and tell what it yielded."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from msgspec import structs
from numpy.typing import NDArray

from ltbench import checkpoints, environment, midway, tracks
from ltbench.checkpoints import Checkpoint
from ltbench.errors import LTBenchError
from ltbench.faults import fault
from ltbench.hidden import Unresumable
from ltbench.protocols import Protocol
from ltbench.recipes import Recipe, values
from ltbench.records import Origin, Record, Status, cell_name

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Cell:
    """What is to be run, on which data, and which code its methods are.

    `table` names one of a protocol's tables; `fingerprint` is empty for data that cannot be had.
    """

    protocol: Protocol
    recipe: Recipe
    seed: int
    fingerprint: str
    origins: dict[str, Origin]
    table: str = ""

    def __str__(self) -> str:
        return cell_name(self.recipe.text, self.seed, self.table)


def run_cell(
    cell: Cell, source: Any, device: torch.device, checkpoint: Checkpoint | None = None
) -> tuple[Record, Arrays | None]:
    """The record of a cell, whatever becomes of it, and its predictions if all went well.

    `source` are the data, or the error for which they cannot be had. With a `checkpoint` the cell
    is kept there while it runs, and continued if it was.
    """
    checkpoint = checkpoint or Checkpoint()
    protocol, recipe = cell.protocol, copy.deepcopy(cell.recipe)
    try:
        if isinstance(source, LTBenchError):
            raise source
        threads = protocol.compute.threads
        with environment.own(threads, cell.seed), checkpoints.used(checkpoint):
            outcome = tracks.of(protocol).run(protocol, recipe, cell.seed, source, device)
    except Unresumable as error:
        checkpoint.drop()
        midway.say(f"begins anew, not from its checkpoint: {error}")
        return run_cell(cell, source, device, checkpoint)
    # A stranger's method may raise anything at all; that must cost its own cells only.
    except (Exception, SystemExit) as error:
        return blank(cell, device, *fault(error, cell.recipe)), None
    record = blank(cell, device, "ok")
    fields = outcome.fields()
    fields["notes"] = [*record.notes, *fields.get("notes", [])]
    return structs.replace(record, **fields), outcome.arrays()


def blank(
    cell: Cell,
    device: torch.device,
    status: Status,
    reason: str = "",
) -> Record:
    """A record of where a cell comes from, without what it yields."""
    protocol = cell.protocol
    return Record(
        protocol=protocol.name,
        version=protocol.version,
        hash=protocol.hash,
        fingerprint=cell.fingerprint,
        recipe=cell.recipe.text,
        parameters={method.name: values(method) for method in cell.recipe.methods},
        plugins=cell.origins,
        seed=cell.seed,
        status=status,
        reason=reason,
        notes=cell.recipe.warnings,
        environment=environment.described(device, protocol.compute.threads),
        table=cell.table,
    )
