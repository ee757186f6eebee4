"""Tabular, as it comes in through the door."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ltbench.contract.hookspecs import hookimpl
from ltbench.tracks.tabular.sources import known


@hookimpl
def register_tracks(register: Callable[[Any], None]) -> None:
    from ltbench.tracks.tabular.declaration import TabularTrack

    register(TabularTrack())


@hookimpl
def register_protocols(register: Callable[[Path], None]) -> None:
    for file in sorted((Path(__file__).parent / "protocols").glob("*.toml")):
        register(file)


@hookimpl
def register_datasets(register: Callable[[str, Callable[..., Any]], None]) -> None:
    for name in known():
        register(name, partial(_whole, name))


def _whole(name: str) -> Any:
    from ltbench.tracks.tabular.reading import read

    return read(name, {})
