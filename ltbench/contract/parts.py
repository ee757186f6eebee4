"""What plugins bring of which a problem is made: networks and learners by name, and metrics.

They are known to the whole process, as networks are made where no registry is at hand.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltbench.errors import LTBenchError

Integers = NDArray[np.integer[Any]]
Metric = Callable[[Integers, Integers, int], float | None]
"""Of labels [N], decided labels [N] and the number of classes; None where it cannot be told."""


@dataclass(frozen=True)
class Part:
    """What makes a network or a learner, and the module that, with its imports, says how.

    `options` are the type of a network's options, or what a learner is made with by default.
    """

    make: Callable[..., Any]
    options: Any = None
    module: str = ""


@dataclass
class Shelf:
    """The parts of one kind by name."""

    kind: str
    parts: dict[str, Part] = field(default_factory=dict)

    def bring(self, name: str, part: Part) -> None:
        """Adds a part; one that its module makes again takes the place of the one before.

        Raises:
            LTBenchError: another module has brought one of that name.
        """
        before = self.parts.get(name)
        if before is not None and before.module != part.module:
            raise LTBenchError(f"the {self.kind} {name!r} is that of {before.module} already")
        self.parts[name] = part

    def modules(self, names: Mapping[str, Any] | tuple[str, ...]) -> tuple[str, ...]:
        """The modules of those parts among names that were brought."""
        return tuple(self.parts[name].module for name in names if name in self.parts)


NETWORKS, LEARNERS = Shelf("network"), Shelf("learner")
