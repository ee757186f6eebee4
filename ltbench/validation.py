"""Checks what a user wrote against types, and says in one line what is wrong with it."""

import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec
from msgspec import Struct

from ltbench.errors import LTBenchError, UnknownName, nearest

T = TypeVar("T", bound=Struct)


def convert(owner: str, content: Any, *kinds: type[T]) -> T:
    """What `content` states as one of `kinds`; `owner` is named in refusals.

    Raises:
        LTBenchError: an unknown or missing key, a wrong type, a value out of range or not finite.
    """
    for place, number in _numbers(content, ""):
        if not math.isfinite(number):
            raise LTBenchError(f"{owner}: expected a finite number, got {number} - at {place[1:]}")
    try:
        converted: T = msgspec.convert(content, reduce(or_, kinds))
        return converted
    except msgspec.ValidationError as error:
        raise LTBenchError(f"{owner}: {_explained(error, kinds)}") from None


def _numbers(content: Any, place: str) -> Iterator[tuple[str, float]]:
    """Every floating-point number in nested tables and lists, with its place."""
    if isinstance(content, float):
        yield place, content
    if isinstance(content, list):
        content = dict(enumerate(content))
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _numbers(value, f"{place}.{key}")


def _explained(error: Exception, kinds: Sequence[type[Struct]]) -> str:
    """A refusal with dotted places and, for an unknown key, the nearest one."""
    text = str(error).replace("`", "").replace("$.", "").replace(" - at $", "")
    if unknown := re.match(r"Object contains unknown field (\S+)", text):
        near = nearest(unknown[1], set().union(*map(_keys, kinds)))
        text = f"unknown key {unknown[1]!r}" + text[unknown.end() :]
        text += f"; did you mean {near}?" if near else ""
    text = re.sub(r"^Object missing required field (\S+)", r"key \1 is missing", text)
    return text[0].lower() + text[1:]


def _keys(kind: type[Struct]) -> set[str]:
    hints = get_type_hints(kind).values()
    inner = [t for hint in hints for t in (hint, *get_args(hint)) if isinstance(t, type)]
    inner = [t for t in inner if issubclass(t, Struct)]
    return set(kind.__struct_fields__).union(*map(_keys, inner))


def parameters(function: Callable[..., Any]) -> dict[str, Any]:
    """The parameters that a constructor or function takes by name, with their defaults."""
    found = inspect.signature(function).parameters.values()
    named = (p for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
    return {parameter.name: parameter.default for parameter in named}


def types(function: Callable[..., Any]) -> dict[str, Any]:
    """The type of each parameter; where none is stated, that of its default."""
    typed = function.__init__ if isinstance(function, type) else function  # type: ignore[misc]
    hints = get_type_hints(typed, include_extras=True)
    return {n: hints.get(n, _type_of(default)) for n, default in parameters(function).items()}


def schemas(function: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    """What each parameter accepts, as JSON Schema with its default."""
    expected = types(function)
    return {n: {**_schema(expected[n]), "default": d} for n, d in parameters(function).items()}


def check(owner: str, function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `given` as `function` declares them; `owner` is named in refusals.

    Raises:
        LTBenchError: an unknown parameter, a wrong type, a value out of range or not finite.
    """
    expected = types(function)
    checked = {}
    for name, value in given.items():
        if name not in expected:
            there = f"it has {', '.join(expected) or 'none'}"
            raise UnknownName(f"parameter of {owner}", name, expected, where=there)
        try:
            checked[name] = msgspec.convert(value, expected[name])
        except msgspec.ValidationError as error:
            reason = str(error).replace("`", "")
            reason = reason[0].lower() + reason[1:]
            raise LTBenchError(f"{owner}: {name}={value!r} is refused: {reason}") from None
        if isinstance(value, float) and not math.isfinite(value):
            raise LTBenchError(f"{owner}: {name}={value!r} is refused: expected a finite number")
    return checked


def _type_of(default: Any) -> Any:
    if default is None or default is inspect.Parameter.empty:
        return Any
    return int | float if type(default) in (int, float) else type(default)


def _schema(expected: Any) -> dict[str, Any]:
    try:
        return msgspec.json.schema(expected)
    except TypeError:  # a type that JSON has no word for
        return {}
