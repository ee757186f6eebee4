"""Search spaces: the values of a parameter among which tuning looks, one line for each."""

import math
from collections.abc import Mapping
from typing import Any

from ltbench import validation
from ltbench.errors import LTBenchError, UnknownName

FIGURES = 3  # of a number that is drawn, so that recipes stay readable


class Space:
    """The values that a parameter may take while it is tuned.

    `size` is how many there are, None where they are numbers without end.
    """

    size: int | None = None

    def at(self, u: float) -> Any:
        """The value at a place from 0 to 1."""
        raise NotImplementedError

    def holds(self, value: Any) -> bool:
        """Whether a value is one of them."""
        raise NotImplementedError

    def extremes(self) -> tuple[Any, ...]:
        """Values of which all are accepted where these are."""
        raise NotImplementedError


class Uniform(Space):
    """Any number from `low` to `high`, each stretch as likely as another of its length.

    Raises:
        ValueError: they do not rise, or are not finite.
    """

    def __init__(self, low: float, high: float) -> None:
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"{type(self).__name__}({low}, {high}) holds no range")
        self.low, self.high = low, high

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.low}, {self.high})"

    def at(self, u: float) -> Any:
        return self._within(float(f"{self._between(u):.{FIGURES}g}"))

    def holds(self, value: Any) -> bool:
        return type(value) in (int, float) and self.low <= value <= self.high

    def extremes(self) -> tuple[Any, ...]:
        return self.low, self.high

    def _between(self, u: float) -> float:
        return self.low + u * (self.high - self.low)

    def _within(self, value: Any) -> Any:
        return min(max(value, self.low), self.high)


class LogUniform(Uniform):
    """Any number from `low` to `high`, each factor as likely as another of its size.

    Raises:
        ValueError: they do not rise from above 0, or are not finite.
    """

    def __init__(self, low: float, high: float) -> None:
        if low <= 0:
            raise ValueError(f"LogUniform({low}, {high}) has no logarithm")
        super().__init__(low, high)

    def _between(self, u: float) -> float:
        return float(self.low * (self.high / self.low) ** u)


class Integer(Uniform):
    """Any whole number from `low` to `high`, both among them.

    Raises:
        ValueError: they do not rise, or are not whole.
    """

    def __init__(self, low: int, high: int) -> None:
        if type(low) is not int or type(high) is not int:
            raise ValueError(f"Integer({low}, {high}) needs whole numbers")
        super().__init__(low, high)
        self.size = high - low + 1

    def at(self, u: float) -> Any:
        return self._within(math.floor(self.low + u * (self.high - self.low + 1)))

    def holds(self, value: Any) -> bool:
        return type(value) is int and self.low <= value <= self.high


class Choice(Space):
    """One of several values, each as likely as another.

    Raises:
        ValueError: there are fewer than two, or one stands twice.
    """

    def __init__(self, *options: Any) -> None:
        told = list(map(validation.shown, options))
        if len(options) < 2 or len(set(told)) < len(told):
            raise ValueError(f"Choice({', '.join(told)}) needs two values or more, each once")
        self.options, self.size = options, len(options)

    def __repr__(self) -> str:
        return f"Choice({', '.join(map(validation.shown, self.options))})"

    def at(self, u: float) -> Any:
        return self.options[min(int(u * len(self.options)), len(self.options) - 1)]

    def holds(self, value: Any) -> bool:
        return any(type(value) is type(one) and value == one for one in self.options)

    def extremes(self) -> tuple[Any, ...]:
        return self.options


def require_sound(method: type[Any]) -> Mapping[str, Space]:
    """The search space of a method, made sure of: of parameters that it has, within what these
    accept, and around their defaults.

    Raises:
        LTBenchError: it is not that.
    """
    owner, space = f"the space of {method.name}", method.space
    if not isinstance(space, Mapping):
        raise LTBenchError(f"{owner} is {space!r}; it looks like {{'tau': LogUniform(0.3, 3)}}")
    defaults = validation.parameters(method)
    for name, values in space.items():
        if name not in defaults:
            there = f"it has {', '.join(defaults) or 'none'}"
            raise UnknownName(f"parameter in {owner}", str(name), defaults, where=there)
        if not isinstance(values, Space):
            raise LTBenchError(
                f"{owner} has {values!r} for {name}; it takes Uniform, LogUniform, Integer, Choice"
            )
        for value in values.extremes():
            validation.check(owner, method, {name: value})
        if not values.holds(defaults[name]):
            told = validation.shown(defaults[name])
            raise LTBenchError(f"{owner}: {name} in {values} leaves out its default {told}")
    return space


def unsound(method: type[Any]) -> str | None:
    """Why the search space of a registered class of methods is none, or None."""
    try:
        require_sound(method)
    except LTBenchError as error:
        return str(error)
    return None
