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
    if not found or not _shipped(registry, protocol):
        return []
    return [Quoted(s.reference, s.place, s.conditions, s.accuracy[name]) for s in found]


def ordered(registry: Registry, protocol: Protocol) -> tuple[str, dict[str, list[float]]] | None:
    """The problem whose figures the order of a shipped protocol's rows is set against, and what
    each source tells of a method there. A smaller budget or a copy of the images is set against the
    figures of the whole.
    """
    problem = _published().order.get(protocol.name, protocol.name)
    told: dict[str, list[float]] = {}
    for source in _sources():
        for method, (accuracy, *_) in source.accuracy.get(problem, {}).items():
            told.setdefault(method, []).append(accuracy)
    return (problem, told) if told and _shipped(registry, protocol) else None


def _shipped(registry: Registry, protocol: Protocol) -> bool:
    name = protocol.name
    return registry.ships(name) and registry.protocol(name).hash == protocol.hash


class Published(Struct, frozen=True, forbid_unknown_fields=True):
    """What the file holds; `order` names by protocol the problem that its order is set against."""

    order: dict[str, str]
    sources: list[Source]


def _sources() -> list[Source]:
    return _published().sources


@cache
def _published() -> Published:
    content = tomllib.loads((files(__package__) / "published.toml").read_text(encoding="utf-8"))
    return msgspec.convert(content, Published)
