"""Clusters of imbalanced sizes, and classes of which some are known, as they come in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ltbench.contract.hookspecs import hookimpl


@hookimpl
def register_tracks(register: Callable[[Any], None]) -> None:
    from ltbench.tracks.clustering.declaration import ClusteringTrack

    register(ClusteringTrack())


@hookimpl
def register_protocols(register: Callable[[Path], None]) -> None:
    for file in sorted((Path(__file__).parent / "protocols").glob("*.toml")):
        register(file)
