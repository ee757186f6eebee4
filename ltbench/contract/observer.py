"""What makes an observer, for those who only pass it on."""

from collections.abc import Callable
from typing import Any

Maker = Callable[[str], Any]
"""Makes an observer from what stands behind its name; empty where nothing does."""


def summary(make: Maker) -> str:
    """What an observer says of itself in a line."""
    return (make.__doc__ or "").strip().partition("\n")[0]
