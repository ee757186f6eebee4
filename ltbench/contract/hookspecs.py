"""The hooks by which plugins are found; after that a method is an ordinary object."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pluggy

hookspec = pluggy.HookspecMarker("ltbench")
hookimpl = pluggy.HookimplMarker("ltbench")


@hookspec
def register_methods(register: Callable[[type], None]) -> None:
    """Call `register(MethodClass)` for each method of the plugin."""


@hookspec
def register_protocols(register: Callable[[Path], None]) -> None:
    """Call `register(path)` for each protocol file of the plugin."""


@hookspec
def register_datasets(register: Callable[[str, Callable[[], Any]], None]) -> None:
    """Call `register(name, load)` for each data set; `load()` returns a `ltbench.Dataset`."""


@hookspec
def register_observers(register: Callable[[str, Callable[[str], Any]], None]) -> None:
    """Call `register(name, make)` for each observer; `make(argument)` returns a `ltbench.Observer`.

    The argument is empty where none is given.
    """


@hookspec
def register_tracks(register: Callable[[Any], None]) -> None:
    """Call `register(track)` for each track: an instance of a subclass of `ltbench.Track`."""
