"""What there is, in a line each: remembered, so that a listing loads no plugin and no torch."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from msgspec import Struct

from ltbench.registry.cache import remembered
from ltbench.registry.families import family
from ltbench.registry.registry import Registry

Line = tuple[str, ...]
Found = tuple[list[Line], list[Path]]
"""The lines of a kind, and the files and folders, beside plugins, that they are made of."""


class Listing(Struct, frozen=True):
    """The lines of a kind, and how each file and folder that they are made of was."""

    lines: list[Line]
    made_of: dict[str, tuple[int, int]]

    def holds(self) -> bool:
        return all(_state(path) == state for path, state in self.made_of.items())


def lines(registry: Registry, kind: str) -> list[Line]:
    """The columns of a plain listing of a kind, in order of name.

    They are those of before while no package, plugin, file or folder behind them has changed.
    """
    if kind == "methods":  # which are read, not loaded
        return [(one.name, one.reference, one.summary) for one, _ in registry.outlines()]
    derive = partial(_derived, registry, kind)
    if registry.strict or registry.data:  # refused, or named, at this call alone
        return derive().lines
    plugins = registry.those_with(f"register_{kind}")
    told = [text for plugin in plugins for text in (str(plugin.file), plugin.source)]
    where = [str(_data_folder())] if kind == "datasets" else []
    texts = [*registry.stamps, *told, *where]
    return remembered(kind, texts, derive, Listing, Listing.holds).lines


def groups(registry: Registry, kind: str) -> dict[str, str]:
    """The family of each method, or the track of each protocol, by its name.

    A method of another package is of the family that is called as that package.
    """
    if kind == "methods":
        return {one.name: family(plugin, one.name) for one, plugin in registry.outlines()}
    if kind == "protocols":
        return {name: registry.track_of(name) for name in registry.protocols()}
    return {}


def _derived(registry: Registry, kind: str) -> Listing:
    found, made_of = KINDS[kind](registry)
    return Listing(sorted(found), {str(path): _state(path) for path in made_of})


def _tracks(registry: Registry) -> Found:
    from inspect import getfile

    from ltbench.contract.observer import summary

    tracks = registry.tracks().values()
    told: list[Line] = [(track.name, summary(type(track))) for track in tracks]
    return told, [Path(getfile(type(track))) for track in tracks]


def _protocols(registry: Registry) -> Found:
    folders = {path.parent for path in registry.protocols().values()}
    files = [path for folder in folders for path in (folder, *folder.glob("*.toml"))]
    read = map(registry.protocol, registry.protocols())
    return [(one.name, f"version {one.version}", one.description) for one in read], files


def _datasets(registry: Registry) -> Found:
    folder = _data_folder()
    try:
        inner = list(folder.iterdir())
    except OSError:  # there is none that can be read
        inner = []
    return [(name,) for name in registry.datasets()], [folder, *inner]


def _observers(registry: Registry) -> Found:
    from ltbench.contract.observer import summary

    return [(name, summary(make)) for name, make in registry.observers().items()], []


KINDS: dict[str, Callable[[Registry], Found]] = {
    "tracks": _tracks,
    "protocols": _protocols,
    "datasets": _datasets,
    "observers": _observers,
}


def _state(path: str | Path) -> tuple[int, int]:
    """When a file or folder was last changed, and its size; zeros where there is none."""
    try:
        told = os.stat(path)
    except OSError:
        return 0, 0
    return told.st_mtime_ns, told.st_size


def _data_folder() -> Path:
    from ltbench.datasets import data_folder

    return data_folder()
