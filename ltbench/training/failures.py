"""What became of a method that raised something: a status and a line for the record."""

import inspect
import traceback
from pathlib import Path

import torch

from ltbench.contract.recipes import Recipe
from ltbench.errors import LTBenchError, Unmet
from ltbench.results.records import Status

LETTERS = 1000  # of what an error says


def failure(error: BaseException, recipe: Recipe) -> tuple[Status, str]:
    """The status and the reason that an error gives to the cell of a recipe."""
    if isinstance(error, LTBenchError):
        reason = text_of(error) or type(error).__name__
        return "skipped" if isinstance(error, Unmet) else "failed", reason
    return "out-of-memory" if _is_out_of_memory(error) else "failed", _told(error, recipe)


def _is_out_of_memory(error: BaseException) -> bool:
    told = ("can't allocate memory", "not enough memory", "failed to allocate")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in text_of(error) for words in told)
    )


def _told(error: BaseException, recipe: Recipe) -> str:
    """An error in one line, with the line of a method's code that it came out of."""
    files = {_file_of(type(method)) for method in recipe.methods}
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((f for f in reversed(frames) if f.filename in files), frames[-1])
    hint = "; these methods may fit in another order, or not at all" if len(files) > 1 else ""
    place = f"{Path(frame.filename).name}, line {frame.lineno}"
    return f"{named(error)} ({place}){hint}"


def named(error: BaseException) -> str:
    """The kind of an error, and what it says."""
    text = text_of(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def text_of(error: BaseException) -> str:
    """What an error says, in one line that can be written down."""
    try:
        told = str(error).encode(errors="backslashreplace").decode()
    except BaseException as another:  # the error's own code, which is a stranger's
        told = f"its text cannot be had ({type(another).__name__})"
    told = " ".join(told.split())
    return told if len(told) <= LETTERS else f"{told[:LETTERS]} ..."


def _file_of(kind: type) -> str | None:
    """The file that a class is defined in; None for one made without any."""
    try:
        return inspect.getfile(kind)
    except (TypeError, OSError):
        return None
