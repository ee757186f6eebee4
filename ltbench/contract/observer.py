"""What makes an observer, for those who only pass it on."""

from collections.abc import Callable
from typing import Any

from ltbench.texts import readable

Maker = Callable[[str], Any]
"""Makes an observer from what stands behind its name; empty where nothing does."""


def summary(make: Maker) -> str:
    """What an observer, or a class, says of itself in a line."""
    text = make.__doc__ if isinstance(make.__doc__, str) else ""
    return readable(text.strip().partition("\n")[0])
