"""Figures that others published for a problem: shown beside what was measured, never ranked."""

import tomllib
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct

from ltbench.protocols.schema import Protocol
from ltbench.registry.registry import Registry


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """Where figures stand, and how their conditions differ from the protocol's.

    `accuracy` has by protocol, then by method, an accuracy and its spread if that was told, in
    percent. A method that stands here as a recipe is named by it.
    """

    reference: str
    place: str
    conditions: str
    accuracy: dict[str, dict[str, tuple[float, ...]]]


class Quoted(Struct, frozen=True):
    """One source's accuracies for a protocol."""

    reference: str
    place: str
    conditions: str
    accuracy: dict[str, tuple[float, ...]]


def quoted(registry: Registry, protocol: Protocol) -> list[Quoted]:
    """What was published for a shipped protocol; nothing for another of its name."""
    name = protocol.name
    found = [source for source in _sources() if name in source.accuracy]
    if not found or not registry.ships(name) or registry.protocol(name).hash != protocol.hash:
        return []
    return [Quoted(s.reference, s.place, s.conditions, s.accuracy[name]) for s in found]


@cache
def _sources() -> list[Source]:
    content = tomllib.loads((files(__package__) / "published.toml").read_text(encoding="utf-8"))
    return msgspec.convert(content["sources"], list[Source])
