"""Sequences, as they come in through the door."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ltbench.contract.hookspecs import hookimpl


@hookimpl
def register_tracks(register: Callable[[Any], None]) -> None:
    from ltbench.tracks.sequences.declaration import SequencesTrack

    register(SequencesTrack())


@hookimpl
def register_protocols(register: Callable[[Path], None]) -> None:
    for file in sorted((Path(__file__).parent / "protocols").glob("*.toml")):
        register(file)
