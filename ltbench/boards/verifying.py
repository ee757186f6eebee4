"""Whether what records tell follows from the arrays that stand beside them."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ltbench.contract.track import Track, around
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.results import records
from ltbench.results.record_arrays import Columns
from ltbench.results.records import Record, Rejected, path_of, place_of

SLACK = 1e-9  # of a metric that is computed once more
SAMPLE = 24  # records of a board that are held against their arrays whenever it is read


def contradiction(
    track: Track[Any], protocol: Protocol, results: Path, record: Record
) -> str | None:
    """What of a record does not follow from its arrays, or why that cannot be told; None if all
    that is kept agrees."""
    if record.status != "ok":
        return None
    try:
        arrays = records.arrays_of(results, record) if record.arrays else {}
        followed = dict(track.measured(protocol, record, arrays))
        if track.brought:
            further = track.further(protocol, record, arrays, len(record.class_counts))
            followed |= {name: around(value, SLACK) for name, value in further.items()}
    except LTBenchError as error:
        return str(error)
    # What somebody made up may raise anything at all; that must not cost the other records.
    except Exception as error:
        return f"its arrays cannot be measured ({type(error).__name__})"
    told: dict[str, float | None] = dict(record.measures)
    told |= {f"recall {c}": value for c, value in enumerate(record.recall)}
    for name, bounds in followed.items():
        said = told.get(name)
        if bounds is None and said is None:
            continue
        if bounds is None or said is None:
            held, from_arrays = (f"{said:g}", "none") if bounds is None else ("none", _span(bounds))
        elif bounds[0] <= said <= bounds[1]:
            continue
        else:
            held, from_arrays = f"{said:.6g}", _span(bounds)
        return f"its {name} is {held}, but {from_arrays} follows from its arrays"
    return None


def _span(bounds: tuple[float, float]) -> str:
    low, high = (f"{bound:.6g}" for bound in bounds)
    return low if low == high else f"{low} to {high}"


def contradicted(
    track: Track[Any], protocol: Protocol, results: Path, found: Sequence[Record]
) -> list[Rejected]:
    """The records among these that do not follow from their arrays."""
    every = ((record, contradiction(track, protocol, results, record)) for record in found)
    return [Rejected(place_of(results, record), said) for record, said in every if said is not None]


def sampled(
    track: Track[Any], protocol: Protocol, results: Path, told: Columns
) -> dict[int, Rejected]:
    """Those of a few of the rows of `told`, drawn anew each time, whose records do not follow.

    One whose arrays do not stand beside it is left to `ltbench doctor`.
    """
    bad = {}
    for row in sorted(random.sample(range(len(told)), min(SAMPLE, len(told)))):
        recipe, kind = told.recipes[told.recipe[row]], told.kinds[told.kind[row]]
        path = path_of(results, protocol.name, recipe, int(told.seed[row]), kind.table)
        record = records.read(path)
        if isinstance(record, Record) and _has_arrays(results, record):
            said = contradiction(track, protocol, results, record)
            if said is not None:
                bad[row] = Rejected(path, said)
    return bad


def _has_arrays(results: Path, record: Record) -> bool:
    return not record.arrays or place_of(results, record).with_suffix(".npz").exists()
