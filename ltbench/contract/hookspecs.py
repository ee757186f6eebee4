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
    """Call `register(name, load)` for each data set; `load()` returns a `ltbench.Dataset`, or of a
    table a `pandas.DataFrame` with the column of classes."""


@hookspec
def register_networks(register: Callable[[str, Callable[..., Any], type], None]) -> None:
    """Call `register(name, Network, Options)` for each network.

    `Network(shape, num_classes, options)` is a module with a method `features(x)` and a `head`, for
    inputs of that shape without the batch; `Options` is the msgspec struct or dataclass that the
    keys of [network] beside the name make.
    """


@hookspec
def register_learners(register: Callable[..., None]) -> None:
    """Call `register(name, Learner, **defaults)` for each learner of tables: a classifier of
    scikit-learn's kind, which [learners] names, and what it is made with where they do not say."""


@hookspec
def register_metrics(register: Callable[[str, Any, Callable[..., Any]], None]) -> None:
    """Call `register(track, measure, compute)` for each metric: an `ltbench.Measure` that protocols
    of the track may ask for, and `compute(labels, predicted, num_classes)` of test rows [N], which
    gives a number, or None where there is none."""


@hookspec
def register_observers(register: Callable[[str, Callable[[str], Any]], None]) -> None:
    """Call `register(name, make)` for each observer; `make(argument)` returns a `ltbench.Observer`.

    The argument is empty where none is given.
    """


@hookspec
def register_tracks(register: Callable[[Any], None]) -> None:
    """Call `register(track)` for each track: an instance of a subclass of `ltbench.Track`."""
