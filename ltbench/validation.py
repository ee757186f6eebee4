"""Checks what a user wrote against types, and says in one line what is wrong with it."""

import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from ltbench.errors import LTBenchError, UnknownName, nearest
from ltbench.texts import line, readable

T = TypeVar("T", bound=Struct)


def convert(owner: str, content: Any, *kinds: type[T]) -> T:
    """What `content` states as one of `kinds`; `owner` is named in refusals.

    Raises:
        LTBenchError: an unknown or missing key, a wrong type, a value out of range or not finite.
    """
    for place, number in _numbers(content, ""):
        if not math.isfinite(number):
            raise LTBenchError(f"{owner}: expected a finite number, got {number} - at {place[1:]}")
    lacking = list(missing(content, kinds[0])) if len(kinds) == 1 else []
    if len(lacking) > 1:
        raise LTBenchError(f"{owner}: keys are missing: {', '.join(lacking)}")
    try:
        converted: T = msgspec.convert(content, reduce(or_, kinds))
        return converted
    except msgspec.ValidationError as error:
        raise LTBenchError(f"{owner}: {_explained(error, kinds)}") from None


def missing(content: Any, kind: type[Struct], place: str = "") -> Iterator[str]:
    """The keys that a table lacks, and those within it, each with the places above it."""
    if not isinstance(content, dict):
        return
    for field in msgspec.structs.fields(kind):
        key = field.encode_name
        within = content.get(key, {} if field.required else None)
        told = get_args(field.type)[0] if get_origin(field.type) is Annotated else field.type
        table = next((t for t in (told, *get_args(told)) if _is_table(t)), None)
        if table is None:
            if field.required and key not in content:
                yield f"{place}{key}"
        elif get_origin(told) is dict:
            if field.required and key not in content:
                yield f"{place}{key}"
            for name, one in within.items() if isinstance(within, dict) else ():
                yield from missing(one, table, f"{place}{key}.{name}.")
        elif within is not None:
            yield from missing(within, table, f"{place}{key}.")
    further = getattr(kind, "also_required", lambda content: ())(content)
    yield from (f"{place}{key}" for key in further if key not in content)


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _numbers(content: Any, place: str) -> Iterator[tuple[str, float]]:
    """Every floating-point number in nested tables and lists, with its place."""
    if isinstance(content, float):
        yield place, content
    if isinstance(content, list | tuple | set):
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
    """The type of each parameter; where none is stated that can be read, that of its default."""
    typed = function.__init__ if isinstance(function, type) else function  # type: ignore[misc]
    try:
        hints = get_type_hints(typed, include_extras=True)
    # An annotation may be any expression, of names that are there for a type checker alone.
    except Exception:
        hints = {}
    return {n: hints.get(n, _type_of(default)) for n, default in parameters(function).items()}


def schemas(function: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    """What each parameter accepts, as JSON Schema with its default."""
    expected = types(function)
    return {n: {**_schema(expected[n]), "default": d} for n, d in parameters(function).items()}


def check(owner: str, function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `given` as `function` declares them; `owner` is named in refusals.

    Equal numbers come back as one, in the type of the parameter: 2 for 2.0 or the other way round.

    Raises:
        LTBenchError: an unknown parameter, a wrong type, a value out of range or not finite.
    """
    expected, defaults = types(function), parameters(function)
    checked = {}
    for name, value in given.items():
        if name not in expected:
            there = f"it has {', '.join(expected) or 'none'}"
            raise UnknownName(f"parameter of {owner}", name, expected, where=there)
        refused = f"{owner}: {name}={shown(value)} is refused"
        if any(not math.isfinite(number) for _, number in _numbers(value, "")):
            raise LTBenchError(f"{refused}: expected a finite number")
        try:
            checked[name] = msgspec.convert(_alike(value, defaults[name]), expected[name])
        except (msgspec.ValidationError, OverflowError) as error:
            reason = str(error).replace("`", "")
            raise LTBenchError(f"{refused}: {reason[0].lower()}{reason[1:]}") from None
        except TypeError as error:  # of an annotation that is no type of a value
            raise LTBenchError(f"{refused}: its type cannot be checked ({line(error)})") from None
        if not is_literal(checked[name]):
            raise LTBenchError(f"{refused}: it is no literal")
    return checked


def _alike(value: Any, like: Any) -> Any:
    """A value with each number in the type of that beside it in `like`; whole ones are int else."""
    if getattr(value, "shape", None) == ():  # a number of NumPy's or torch's
        value = value.item()
    if isinstance(value, list | tuple):
        beside = [*like, *like[-1:] * len(value)] if isinstance(like, list | tuple) else []
        beside += [None] * len(value)
        return type(value)(_alike(one, other) for one, other in zip(value, beside, strict=False))
    if isinstance(value, dict):
        of_key = like if isinstance(like, dict) else {}
        return {key: _alike(one, of_key.get(key)) for key, one in value.items()}
    if type(value) is int and type(like) is float:
        return float(value)
    if type(value) is float and type(like) is float:
        return value + 0.0  # which is 0.0 for -0.0
    return int(value) if type(value) is float and value.is_integer() else value


def is_literal(value: Any) -> bool:
    """Whether a value can be written in a recipe and in a record, and is read again as it is."""
    if type(value) is str:
        return readable(value) == value
    if type(value) is int:
        return abs(value) < 2**63
    if type(value) is float:
        return math.isfinite(value)
    if type(value) in (list, tuple, set):
        return all(map(is_literal, value))
    if type(value) is dict:
        return all(type(key) is str for key in value) and all(map(is_literal, value.values()))
    return value is None or type(value) is bool


def shown(value: Any) -> str:
    """A literal as recipes write it, alike for equal ones; of anything else what it says."""
    if type(value) is set:
        return f"{{{', '.join(sorted(map(shown, value)))}}}" if value else "set()"
    if type(value) is dict:
        return f"{{{', '.join(f'{k!r}: {shown(value[k])}' for k in sorted(value, key=repr))}}}"
    if type(value) in (list, tuple):
        inner = ", ".join(map(shown, value))
        return f"[{inner}]" if type(value) is list else f"({inner}{',' * (len(value) == 1)})"
    return line(value, repr)


def _type_of(default: Any) -> Any:
    if default is None or default is inspect.Parameter.empty:
        return Any
    return int | float if type(default) in (int, float) else type(default)


def _schema(expected: Any) -> dict[str, Any]:
    try:
        return msgspec.json.schema(expected)
    # JSON has no word for a type, or what somebody annotated is none.
    except Exception:
        return {}
