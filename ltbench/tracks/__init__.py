"""Tracks: what is run and what is scored, one file each, to be read downwards.

Each file has `FLOOR`, the recipes without which no table of it stands; `load`, its data by table;
`plan`, which refuses what does not fit; `run`, a cell; and `seconds`, what a plain cell takes.
"""

from importlib import import_module
from typing import Any

from ltbench.protocols import Protocol


def of(protocol: Protocol) -> Any:
    """The module of a protocol's track."""
    return import_module(f"{__package__}.{protocol.track}")
