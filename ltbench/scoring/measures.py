"""Measures: what a cell yields by name, how each is called, explained, compared and written."""

import math
from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

from ltbench.scoring.statistics import Limits

FIRST, SECOND = "first", "second"  # the tables that every board has
SHARES: Limits = (0.0, 1.0)

FORMS = {"%": "{:.1f}", "x": "{:.2f}x"}
"""How a number of each unit is written, where its measure does not say; shares are in percent, and
seconds have two figures."""


class Measure(Struct, frozen=True):
    """A number that a cell yields, or that is derived of the cells of a board.

    `label` is how tables call it, its name where that is empty; measures that share a label share a
    column. `explanation` is a clause of the legend, into which fields of the protocol can be put,
    as in "{0.networks} networks"; `empty` is the clause where no row has a value. `unit` is "%" for
    a share that is shown in percent, "s", "x" for a ratio, or any word; `form` is a format of its
    own. `table` is where it stands: "first", "second", or a table of its track's own. A `chosen`
    measure is shown where the protocol's scoring asks for it, any other wherever there is a value.
    A row shows the `typical` value over seeds, a mean with its interval or a median. `limits` are
    what a value can be at least and at most, if there are such; intervals end there. `stored` says
    that records hold it, `timed` that two runs of one cell differ in it, as in all that a clock
    tells.
    """

    name: str
    label: str = ""
    explanation: str = ""
    better: Literal["higher", "lower"] = "higher"
    unit: str = "%"
    form: str = ""
    table: str = SECOND
    chosen: bool = False
    typical: Literal["mean", "median"] = "mean"
    stored: bool = True
    timed: bool = False
    limits: Limits | None = None
    empty: str = ""

    @property
    def called(self) -> str:
        return self.label or self.name

    @property
    def sign(self) -> float:
        """What turns the measure into one of which more is better."""
        return 1.0 if self.better == "higher" else -1.0

    @property
    def gaps(self) -> Limits | None:
        """The limits of a difference of two values."""
        if self.limits is None:
            return None
        width = self.limits[1] - self.limits[0]
        return -width, width

    def written(self, value: float, sign: str = "") -> str:
        """A value in its unit; `sign` "+" shows that of a difference."""
        if self.unit == "s" and not self.form:
            return figures(value, sign)
        form = self.form or FORMS.get(self.unit, "{:,.6g}")
        return form.replace("{:", f"{{:{sign}").format(self.scaled(value))

    def scaled(self, value: float) -> float:
        return 100 * value if self.unit == "%" else value


def figures(value: float, sign: str = "", decimals: int = 2) -> str:
    """A number with two significant figures, of which so many at most are decimals."""
    told = float(f"{value:.1e}")
    places = decimals if told == 0 else 1 - math.floor(math.log10(abs(told)))
    return f"{told:{sign}.{max(0, min(places, decimals))}f}"


def share(name: str, label: str = "", explanation: str = "", **more: Any) -> Measure:
    """A share of test rows, or a mean of such, that is shown where a protocol asks for it."""
    return Measure(name, label, explanation, chosen=True, limits=SHARES, **more)


CLASSIFICATION = (
    share("balanced_accuracy", "balanced accuracy", table=FIRST),
    share("accuracy"),
    share(
        "many",
        explanation="*many*, *medium*, *few*: mean recall of the classes with that many training "
        "rows",
        empty="*many*: no class has so many training rows",
        table=FIRST,
    ),
    share("medium", empty="*medium*: no class has such a number of training rows", table=FIRST),
    share("few", empty="*few*: no class has so few training rows", table=FIRST),
    share("worst_class", "worst", "*worst*: recall of the worst class", table=FIRST),
    share("g_mean", "G-mean", "*G-mean*: geometric mean of the recalls"),
    share("macro_f1", "F1", "*F1*: mean over classes"),
    share(
        "macro_auc",
        "AUC",
        "*AUC*: area under the ROC curve, mean over classes, each against the rest",
    ),
    share(
        "expected_calibration_error",
        "ECE",
        "*ECE*: expected calibration error in 15 bins, lower is better",
        better="lower",
    ),
)
"""Of what tells classes apart, in the order of tables; `scoring.metrics` computes them."""

NAMES = tuple(measure.name for measure in CLASSIFICATION)


def stored(measures: Sequence[Measure]) -> tuple[str, ...]:
    """The names of those that records hold, in their order."""
    return tuple(measure.name for measure in measures if measure.stored)
