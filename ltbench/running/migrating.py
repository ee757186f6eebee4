"""Records of the earlier form carried over to this one, in their place."""

from collections import Counter
from collections.abc import Iterator
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
    """How many records were carried over, and those that were not; what methods were not."""

    carried: int = 0
    known: int = 0
    rejected: list[Rejected] = field(default_factory=list)
    lost: Counter[tuple[str, str]] = field(default_factory=Counter)


def migrate(registry: Registry, results: Path, was: list[Path]) -> Migrated:
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
        if isinstance(records.read(path), Record):
            done.known += 1
            continue
        try:
            record = carried(registry, carrier, path, done)
        except LTBenchError as error:
            done.rejected.append(Rejected(path, str(error)))
            continue
        records.write_bytes(path, records.encoded(record.sealed()))
        done.carried += 1
    return done


def carried(registry: Registry, carrier: Carrier, path: Path, done: Migrated) -> Record:
    """The record of the earlier form in a file, in this form.

    Raises:
        LTBenchError: it is none, was changed by hand, or is of a track that is not here.
    """
    old = earlier.read(path)
    protocol = _protocol(registry, old["protocol"])
    origins = {}
    for name, told in old["plugins"].items():
        origin = msgspec.convert(told, Origin)
        origins[name] = carrier(name, origin)
        if name in carrier.lost:
            done.lost[name, carrier.lost[name]] += 1
    fields = dict(_fields(registry, old, protocol))
    try:
        return msgspec.convert(
            {
                **{key: old[key] for key in earlier.SAME if key in old},
                "arrays": old.get("predictions", ""),
                "plugins": msgspec.to_builtins(origins),
                **msgspec.to_builtins(fields),
            },
            Record,
        )
    except msgspec.ValidationError as error:
        raise LTBenchError(f"it is no record ({str(error).replace('`', '')})") from None


def _protocol(registry: Registry, name: str) -> Protocol | None:
    return registry.protocol(name) if name in registry.protocols() else None


def _fields(
    registry: Registry, old: dict[str, Any], protocol: Protocol | None
) -> Iterator[tuple[str, Any]]:
    """The fields that the record's track makes of what it held."""
    tracks = registry.tracks()
    known = {protocol.track: tracks[protocol.track]} if protocol is not None else tracks
    for name, track in known.items():
        fields = track.carried(old, protocol)
        if fields is not None:
            yield from {"track": name, **fields}.items()
            return
    raise LTBenchError(f"its protocol {old['protocol']} is of no track that is here")
