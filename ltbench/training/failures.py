"""What became of a method that raised something: a status and a line for the record."""

import inspect
import traceback
from pathlib import Path

import torch

from ltbench.contract.recipes import Recipe
from ltbench.errors import LTBenchError, Unmet
from ltbench.results.records import Status
from ltbench.texts import line, readable, traced
from ltbench.training import events


def failure(error: BaseException, recipe: Recipe) -> tuple[Status, str]:
    """The status and the reason that an error gives to the cell of a recipe.

    Its traceback is told to whoever runs the cell, where that was asked for.
    """
    trace = traced(error)
    if trace:
        events.say(f"failed:\n{trace}")
    if isinstance(error, LTBenchError):
        reason = line(error) or type(error).__name__
        return "skipped" if isinstance(error, Unmet) else "failed", reason
    return "out-of-memory" if _is_out_of_memory(error) else "failed", placed(error, recipe)


def _is_out_of_memory(error: BaseException) -> bool:
    told = ("can't allocate memory", "not enough memory", "failed to allocate")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in line(error) for words in told)
    )


def placed(error: BaseException, recipe: Recipe) -> str:
    """An error in one line, with the line of a method's code that it came out of."""
    files = {_file_of(type(method)) for method in recipe.methods}
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((f for f in reversed(frames) if f.filename in files), frames[-1])
    hint = "; these methods may fit in another order, or not at all" if len(files) > 1 else ""
    place = f"{readable(Path(frame.filename).name)}, line {frame.lineno}"
    return f"{named(error)} ({place}){hint}"


def named(error: BaseException) -> str:
    """The kind of an error, and what it says."""
    text = line(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _file_of(method: type) -> str:
    """The file of a class; where it has none, as in a notebook, that of its functions."""
    try:
        return inspect.getfile(method)
    except (OSError, TypeError):
        code = (getattr(value, "__code__", None) for value in vars(method).values())
        return next((one.co_filename for one in code if one is not None), "")
