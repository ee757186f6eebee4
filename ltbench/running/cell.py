"""One protocol x recipe x seed: run it and tell what it yielded."""

import copy
from dataclasses import dataclass
from typing import Any

import msgspec
import torch
from msgspec import structs

from ltbench.contract.recipes import Recipe, values
from ltbench.contract.track import Arrays, Outcome, Track
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.results.records import Origin, Record, Scores, Status, cell_name
from ltbench.training import checkpoints, environment, events
from ltbench.training.checkpoints import Checkpoint
from ltbench.training.failures import failure
from ltbench.training.method_state import Unresumable


@dataclass(frozen=True)
class Cell:
    """What is to be run, on which data, and which code its methods are.

    `table` names one of a protocol's tables; `fingerprint` is empty for data that cannot be had.
    `code` is a digest of the benchmark's own code that decides its numbers.
    """

    track: Track[Any]
    protocol: Protocol
    recipe: Recipe
    seed: int
    fingerprint: str
    origins: dict[str, Origin]
    table: str = ""
    code: str = ""

    def __str__(self) -> str:
        return cell_name(self.recipe.text, self.seed, self.table)


def run_cell(
    cell: Cell, source: Any, device: torch.device, checkpoint: Checkpoint | None = None
) -> tuple[Record, Arrays | None]:
    """The record of a cell, whatever becomes of it, and its arrays if there are any.

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
            outcome = cell.track.run(protocol, recipe, cell.seed, source, device)
        cell.track.refuse(outcome)
        record = yielded(blank(cell, device, outcome.status, outcome.reason), outcome)
    except Unresumable as error:
        checkpoint.drop()
        events.say(f"begins anew, not from its checkpoint: {error}")
        return run_cell(cell, source, device, checkpoint)
    # A stranger's method may raise anything at all; that must cost its own cells only.
    except (Exception, SystemExit) as error:
        return blank(cell, device, *failure(error, cell.recipe)), None
    return record, outcome.arrays


def yielded(record: Record, outcome: Outcome) -> Record:
    """A record with what its cell yielded.

    Raises:
        LTBenchError: something of it cannot be written down.
    """
    try:
        return structs.replace(
            record,
            measures=_numbers(outcome.measures),
            timing=outcome.timing,
            recall=outcome.recall,
            class_counts=outcome.class_counts,
            transductive=outcome.transductive and _numbers(outcome.transductive),
            notes=[*record.notes, *outcome.notes],
            details={} if outcome.details is None else msgspec.to_builtins(outcome.details),
            control=outcome.control,
            continued=outcome.continued,
        ).sealed()
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        told = str(error).replace("`", "")
        raise LTBenchError(f"track {record.track} gave what no record holds: {told}") from None


def _numbers(scores: Scores) -> Scores:
    """Scores without numpy's types, which are not written down."""
    return {name: None if value is None else float(value) for name, value in scores.items()}


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
        track=protocol.track,
        fingerprint=cell.fingerprint,
        recipe=cell.recipe.text,
        parameters={method.name: values(method) for method in cell.recipe.methods},
        plugins=cell.origins,
        seed=cell.seed,
        status=status,
        reason=reason,
        notes=cell.recipe.warnings,
        environment=environment.described(device, protocol.compute.threads) | {"code": cell.code},
        table=cell.table,
    )
