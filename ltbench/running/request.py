"""What is asked of a run, as people write it on a command line or in Python."""

import math
import operator
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ltbench.errors import LTBenchError
from ltbench.running.processes import Limits
from ltbench.texts import line

MOST_SEEDS = 1_000_000  # that a span may have; more is a slip


def several(what: str, given: Any) -> list[Any]:
    """One of something, or several: a text or a path is one."""
    if given is None:
        return []
    if isinstance(given, str | os.PathLike) or not isinstance(given, Iterable):
        return [given]
    if isinstance(given, dict):
        raise LTBenchError(f"{what} {_shown(given)}: expected one, or a list")
    return list(given)


def path(what: str, given: Any) -> Path:
    """A path, in which ~ stands for the user's home.

    Raises:
        LTBenchError: it is none.
    """
    if isinstance(given, str | os.PathLike) and os.fspath(given):
        return Path(os.path.expanduser(os.fspath(given)))
    raise LTBenchError(f"{what} {_shown(given)} is no path")


def whole(what: str, given: Any, least: int | None = None) -> int:
    """A whole number, from `least` on; NumPy's count, truths do not.

    Raises:
        LTBenchError: it is none.
    """
    try:
        number = None if isinstance(given, bool) else operator.index(given)
    except TypeError:
        number = None
    if number is None or (least is not None and number < least):
        bound = "" if least is None else f" from {least} on"
        raise LTBenchError(f"{what} {_shown(given)}: expected a whole number{bound}")
    return number


def seeds_of(given: Any, usual: int) -> list[int]:
    """The seeds that are asked for: so many, a list, or a text such as "5" or "10-14,101".

    `usual` are how many where nothing is.

    Raises:
        LTBenchError: it asks for none.
    """
    if isinstance(given, Iterable) and not isinstance(given, str | bytes | dict):
        seeds = list(dict.fromkeys(whole("seed", seed, least=0) for seed in given))
    elif isinstance(given, str) and not given.strip().lstrip("+-").isdecimal():
        seeds = list(
            dict.fromkeys(seed for part in given.split(",") for seed in _span(given, part))
        )
    else:
        given = int(given) if isinstance(given, str) else given
        seeds = list(range(usual if given is None else whole("seeds", given)))
    if not seeds:
        raise LTBenchError(f"{_shown(given)} seeds leave nothing to run; at least 1 is needed")
    return seeds


def _span(given: str, part: str) -> range:
    """The seeds of one part of a text."""
    first, dash, last = (word.strip() for word in part.partition("-"))
    if first.isdecimal() and (last.isdecimal() or not dash):
        span = range(int(first), int(last or first) + 1)
        if 0 < len(span) <= MOST_SEEDS:
            return span
    raise LTBenchError(f"seeds {given!r}: expected how many, or which, as 10-14,101")


def jobs_of(given: Any, usual: int) -> int:
    """How many cells run at a time.

    Raises:
        LTBenchError: none could.
    """
    jobs = usual if given is None else whole("jobs", given)
    if jobs < 1:
        raise LTBenchError(f"{jobs} jobs can run nothing; at least 1 is needed")
    return jobs


def limits_of(timeout: Any, memory: Any) -> Limits:
    """What a cell may take, in seconds and MB.

    Raises:
        LTBenchError: that is no limit.
    """
    for name, limit in (("timeout", timeout), ("memory", memory)):
        if limit is None:
            continue
        try:
            number = float("nan") if isinstance(limit, bool | str) else float(limit)
        except (TypeError, ValueError, OverflowError):
            number = float("nan")
        if not 0 < number < math.inf:
            told = f"{limit:g}" if type(limit) in (int, float) else _shown(limit)
            raise LTBenchError(f"a {name} of {told} is no limit; it must be above 0")
    return Limits(timeout, memory)


def shard_of(given: Any) -> tuple[int, int]:
    """Which part of how many, as (2, 5) or "2/5".

    Raises:
        LTBenchError: it is none.
    """
    parts = given.split("/") if isinstance(given, str) else given
    try:
        part, count = (int(one) if isinstance(one, str) else whole("shard", one) for one in parts)
    except (TypeError, ValueError, LTBenchError):
        raise LTBenchError(f"shard {_shown(given)} is none; the first of two is 1/2") from None
    if not 1 <= part <= count:
        raise LTBenchError(f"shard {part}/{count} is none; the first of two is 1/2")
    return part, count


def _shown(value: Any) -> str:
    return line(value, repr)
