"""Records of the earlier form carried over to this one, in their place."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.registry.carrying import Carrier
from ltbench.registry.registry import Registry
from ltbench.results import earlier, records
from ltbench.results.records import Origin, Record, Rejected


@dataclass
class Migrated:
    """What became of records: how many were carried over or had been, and those left in place.

    `lost` counts the records of methods whose code is another, or unknown, by method and reason.
    """

    carried: int = 0
    known: int = 0
    rejected: list[Rejected] = field(default_factory=list)
    lost: Counter[tuple[str, str]] = field(default_factory=Counter)


def migrate(registry: Registry, results: Path, was: Sequence[Path]) -> Migrated:
    """Rewrites every record of the earlier form below a results folder, each whole or not at all.

    `was` are folders that hold the methods' files as they were.

    Raises:
        LTBenchError: the folder holds no records, or one cannot be written.
    """
    done, carrier = Migrated(), Carrier.of(registry, was)
    paths = sorted(results.glob("*/records/*/*.json"))
    if not paths:
        raise LTBenchError(f"{results} holds no records; name the folder that --results named")
    for path in paths:
        found = records.read(path)
        if isinstance(found, Record):
            done.known += 1
        elif not found.earlier:
            done.rejected.append(found)
        else:
            try:
                record, lost = carried(registry, carrier, path)
                if records.place_of(results, record) != path:
                    raise LTBenchError(f"it is a record of {record} of protocol {record.protocol}")
            except LTBenchError as error:
                done.rejected.append(Rejected(path, str(error)))
                continue
            records.write_bytes(path, records.encoded(record.sealed()))
            done.carried += 1
            done.lost.update(lost.items())
    return done


def carried(registry: Registry, carrier: Carrier, path: Path) -> tuple[Record, dict[str, str]]:
    """The record of the earlier form in a file, in this form.

    Beside it is told, by method, why the code could not be carried over, where it was not.

    Raises:
        LTBenchError: it is none, was changed by hand, or is of a track that is not here.
    """
    old = earlier.read(path)
    known = old["protocol"] in registry.protocols()
    protocol = registry.protocol(old["protocol"]) if known else None
    told = {
        name: carrier(name, msgspec.convert(origin, Origin))
        for name, origin in old["plugins"].items()
    }
    content = {
        **{key: old[key] for key in earlier.SAME if key in old},
        "arrays": old.get("predictions", ""),
        "plugins": {name: msgspec.to_builtins(origin) for name, (origin, _) in told.items()},
        **_fields(registry, old, protocol, path),
    }
    try:
        record = msgspec.convert(content, Record)
    except msgspec.ValidationError as error:
        raise LTBenchError(f"it is no record ({str(error).replace('`', '')})") from None
    return record, {name: reason for name, (_, reason) in told.items() if reason}


def _fields(
    registry: Registry, old: dict[str, Any], protocol: Protocol | None, path: Path
) -> dict[str, Any]:
    """The fields that the record's track makes of what it held.

    Raises:
        LTBenchError: no track that is here can make anything of it.
    """
    fields = _told(registry, old, protocol)
    if fields is not None:
        return fields
    if protocol is not None:
        raise LTBenchError(f"it is no record of the track {protocol.track}")
    if not (old["metrics"] or old.get("table")):  # it failed, as cells of any track may
        for other in sorted(path.parents[1].glob("*/*.json")):
            track = _track(registry, other)
            if track is not None:
                return {"track": track, "measures": {}}
    raise LTBenchError(
        f"its protocol {old['protocol']} is not here, and its records tell of no track that is"
    )


def _told(
    registry: Registry, old: dict[str, Any], protocol: Protocol | None
) -> dict[str, Any] | None:
    """The track of a record of the earlier form, with the fields that this makes of it, if any."""
    tracks = registry.tracks()
    for name in tracks if protocol is None else [protocol.track]:
        try:
            fields = msgspec.to_builtins(tracks[name].carried(old, protocol))
        # What somebody made up may raise anything at all; that must not cost the other records.
        except Exception as error:
            told = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise LTBenchError(f"track {name} cannot carry it over ({told})") from error
        if fields is not None:
            return {"track": name, **fields}
    return None


def _track(registry: Registry, path: Path) -> str | None:
    """The track of a record of either form, as far as it tells."""
    found = records.read(path)
    if isinstance(found, Record):
        return found.track
    try:
        told = _told(registry, earlier.read(path), None)
    except LTBenchError:
        return None
    return None if told is None else str(told["track"])
