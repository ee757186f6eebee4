"""One protocol x recipe x seed: run it and tell what it yielded."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import torch
from msgspec import structs

from ltbench.contract.method import values
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Answer, Arrays, Asked, Outcome, Track
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.results.records import (
    Origin,
    Record,
    Scores,
    Status,
    cell_name,
)
from ltbench.texts import line, readable
from ltbench.tracks.shared_work import sharing
from ltbench.training import checkpoints, environment, events
from ltbench.training.checkpoints import Checkpoint
from ltbench.training.failures import failure
from ltbench.training.method_state import Unresumable
from ltbench.training.threads import bounded

Seating = Callable[[], tuple[Any, Callable[[], Asked]]]

HERE = torch.device("cpu")  # what a record names where a GPU must not, or cannot, be asked


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
    cell: Cell,
    source: Any,
    device: torch.device,
    checkpoint: Checkpoint | None = None,
    shares: bool = False,
) -> tuple[Record, Arrays | None]:
    """The record of a cell, whatever becomes of it, and its arrays if there are any.

    `source` are the data, or the error for which they cannot be had. With a `checkpoint` the cell
    is kept there while it runs, and continued if it was. Where it `shares`, it begins from what
    other cells have trained that begin as it does, and leaves that to them.
    """
    checkpoint = checkpoint or Checkpoint()
    protocol = cell.protocol
    came: list[int] = []
    try:
        if isinstance(source, LTBenchError):
            raise source
        recipe = copy.deepcopy(cell.recipe)
        threads = protocol.compute.threads
        with (
            environment.interrupts(came),
            environment.own(threads, cell.seed),
            bounded(threads),
            checkpoints.used(checkpoint),
            sharing(shares),
        ):
            outcome = cell.track.run(protocol, recipe, cell.seed, source, device)
        record = blank(cell, device)
        return recorded(cell.track, protocol, record, outcome, list(getattr(source, "notes", ())))
    # A stranger's method may raise anything at all; that must cost its own cells only.
    except BaseException as error:
        if came:  # it is the user who wants to stop
            raise
        if isinstance(error, Unresumable) and checkpoint.times:
            checkpoint.drop()
            events.say(f"begins anew, not from its checkpoint: {line(error)}")
            return run_cell(cell, source, device, checkpoint, shares)
        return blank(cell, device, *failure(error, cell.recipe)), None


def answer_cell(
    cell: Cell,
    sit: Seating,
    device: torch.device,
    checkpoint: Checkpoint | None = None,
    shares: bool = False,
) -> tuple[Answer | None, Status, str]:
    """What a cell answers to what it is asked, or the status and the reason for which it does not.

    `sit` gives what it may train on, and what asks for test inputs. `shares` is that of `run_cell`.
    """
    checkpoint = checkpoint or Checkpoint()
    protocol, came = cell.protocol, list[int]()
    try:
        given, ask = sit()
        threads = protocol.compute.threads
        for again in (True, False):
            recipe = copy.deepcopy(cell.recipe)
            try:
                with (
                    environment.interrupts(came),
                    environment.own(threads, cell.seed),
                    bounded(threads),
                    checkpoints.used(checkpoint),
                    sharing(shares),
                ):
                    answer = cell.track.answer(protocol, recipe, cell.seed, given, ask, device)
                return answer, "ok", ""
            except Unresumable as error:
                if not (again and checkpoint.times):
                    raise
                checkpoint.drop()
                events.say(f"begins anew, not from its checkpoint: {line(error)}")
        raise AssertionError
    # A stranger's method may raise anything at all; that must cost its own cells only.
    except BaseException as error:
        if came:  # it is the user who wants to stop
            raise
        return None, *failure(error, cell.recipe)


def recorded(
    track: Track[Any], protocol: Protocol, record: Record, outcome: Outcome, notes: list[str]
) -> tuple[Record, Arrays | None]:
    """A record with what its cell yielded, and its arrays; `notes` are those of its data.

    Raises:
        LTBenchError: the outcome is not what the track declares.
    """
    track.refuse(outcome)
    if outcome.status == "ok" and track.brought:
        further = track.further(protocol, record, outcome.arrays or {}, len(outcome.class_counts))
        outcome = replace(outcome, measures={**outcome.measures, **further})
        track.refuse(outcome)
    record = structs.replace(record, status=outcome.status, reason=readable(outcome.reason))
    record = yielded(record, replace(outcome, notes=[*notes, *outcome.notes]))
    refusal = track.refused(record)
    if refusal is not None:
        raise LTBenchError(refusal)
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
            notes=list(dict.fromkeys([*record.notes, *map(_text, outcome.notes)])),
            details={} if outcome.details is None else msgspec.to_builtins(outcome.details),
            control=outcome.control,
            continued=outcome.continued,
            stage=outcome.stage,
        ).sealed()
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        told = line(error).replace("`", "")
        raise LTBenchError(f"track {record.track} gave what no record holds: {told}") from None


def _text(note: Any) -> Any:
    """A note without letters that no file holds."""
    return readable(note) if isinstance(note, str) else note


def _numbers(scores: Scores) -> Scores:
    """Scores without numpy's types, which are not written down."""
    return {name: None if value is None else float(value) for name, value in scores.items()}


def blank(
    cell: Cell,
    device: torch.device,
    status: Status = "ok",
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
        reason=readable(reason),
        notes=cell.recipe.warnings,
        environment=environment.described(device, protocol.compute.threads) | {"code": cell.code},
        table=cell.table,
    )
