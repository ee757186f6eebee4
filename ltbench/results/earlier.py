"""Records of the earlier form: how they were sealed, and what they held."""

import hashlib
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from ltbench.errors import LTBenchError
from ltbench.results.records import Origin

LATER: tuple[dict[str, Any], ...] = (
    {"table": "", "parts": {}},
    {"distilled": None},
    {"compressed": None},
    {"continued": 0},
)
"""Fields that are younger than the first records, with their defaults: their seal covers these only
where they tell something."""

SAME = (
    *("protocol", "version", "hash", "fingerprint", "recipe", "parameters", "seed", "status"),
    *("environment", "table", "reason", "notes", "transductive", "recall", "class_counts"),
    *("timing", "continued"),
)


class Known(Struct):
    """What every record of that form holds."""

    protocol: str
    hash: str
    recipe: str
    seed: int
    status: str
    plugins: dict[str, Origin]
    metrics: dict[str, float | None]
    digest: str


def read(path: Path) -> dict[str, Any]:
    """A record of the earlier form, with its seal checked.

    Raises:
        LTBenchError: it cannot be read, is none, or was changed by hand.
    """
    try:
        content = path.read_bytes()
        old: dict[str, Any] = msgspec.json.decode(content)
        msgspec.convert(old, Known)
        fits = old["digest"] == seal(old)
    except OSError as error:
        raise LTBenchError(f"it cannot be read ({error.strerror})") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise LTBenchError(f"it is no record ({str(error).replace('`', '')})") from None
    if not fits:
        raise LTBenchError("its digest does not fit; it was changed by hand")
    return old


def seal(old: dict[str, Any]) -> str:
    """The digest that covers a record of the earlier form."""
    content = {**old, "digest": ""}
    for fields in LATER:
        if all(content.get(name, default) == default for name, default in fields.items()):
            content = {name: value for name, value in content.items() if name not in fields}
    encoded = msgspec.json.encode(content, order="sorted")
    return hashlib.sha256(encoded).hexdigest()[:16]
