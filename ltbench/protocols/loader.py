"""Reads a protocol's TOML file on top of those that it names as its base."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ltbench.errors import LTBenchError, UnknownName
from ltbench.texts import readable

Known = Callable[[], Mapping[str, Path]]
"""Gives the file of each protocol that may be a base, by name."""


def content(file: Path, known: Known = dict, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a file states on top of its `base`: another file beside it, or one of those `known`.

    Raises:
        LTBenchError: it cannot be read, is not TOML, or names a base that is not there.
    """
    stated = dict(_parsed(file))
    base = stated.pop("base", None)
    if base is None:
        return stated
    found = _base(file, base, known)
    if found is None or base in above:
        beside = [path.stem for path in file.parent.glob("*.toml") if path != file]
        raise UnknownName("base", str(base), {*known(), *beside}, where=f"in protocol {file}")
    return _merged(content(found, known, (*above, base)), stated)


def _base(file: Path, base: Any, known: Known) -> Path | None:
    """The file of a base: one beside comes before a known one."""
    if isinstance(base, str) and Path(base).name == base:
        beside = file.parent / f"{base}.toml"
        if beside != file and beside.exists():
            return beside
    return known().get(base) if isinstance(base, str) else None


def _parsed(file: Path) -> dict[str, Any]:
    from tomllib import TOMLDecodeError

    try:
        return _toml(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        told = f"protocol {readable(str(file))} cannot be read: {error.strerror}"
        raise LTBenchError(told) from None
    except (TOMLDecodeError, UnicodeDecodeError) as error:
        raise LTBenchError(f"protocol {readable(str(file))} is not TOML: {error}") from None


@cache
def _toml(text: str) -> dict[str, Any]:
    """A text is parsed once, however many files stand on it."""
    import tomllib

    return tomllib.loads(text)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Tables go key by key, but imbalance and network are one choice each and go whole."""
    merged = dict(below)
    for key, value in above.items():
        inner = isinstance(value, dict) and isinstance(below.get(key), dict)
        by_key = inner and key not in ("imbalance", "network")
        merged[key] = _merged(below[key], value) if by_key else value
    return merged
