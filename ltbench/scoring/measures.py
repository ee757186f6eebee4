"""Measures: what a cell yields by name, how each is called, explained, compared and written."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

FIRST, SECOND = "first", "second"  # the tables that every board has

FORMS = {"%": "{:.1f}", "s": "{:.2f}", "x": "{:.2f}x"}
"""How a number of each unit is written, where its measure does not say; shares are in percent."""


class Measure(Struct, frozen=True):
    """A number that a cell yields, or that is derived of the cells of a board.

    `label` is how tables call it, its name where that is empty; measures that share a label share a
    column. `explanation` is a clause of the legend, into which fields of the protocol can be put,
    as in "{0.networks} networks". `unit` is "%" for a share that is shown in percent, "s", "x" for
    a ratio, or any word; `form` is a format of its own. `table` is where it stands: "first",
    "second", or a table of its track's own. A `chosen` measure is shown where the protocol's
    scoring asks for it, any other wherever there is a value. A row shows the `typical` value over
    seeds, a mean with its interval or a median. `stored` says that records hold it, `timed` that
    two runs of one cell differ in it, as in all that a clock tells.
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

    @property
    def called(self) -> str:
        return self.label or self.name

    @property
    def sign(self) -> float:
        """What turns the measure into one of which more is better."""
        return 1.0 if self.better == "higher" else -1.0

    def written(self, value: float, sign: str = "") -> str:
        """A value in its unit; `sign` "+" shows that of a difference."""
        form = self.form or FORMS.get(self.unit, "{:,.6g}")
        return form.replace("{:", f"{{:{sign}").format(self.scaled(value))

    def scaled(self, value: float) -> float:
        return 100 * value if self.unit == "%" else value


CLASSIFICATION = (
    Measure("balanced_accuracy", "balanced accuracy", table=FIRST, chosen=True),
    Measure("accuracy", chosen=True),
    Measure(
        "many",
        explanation="*many*, *medium*, *few*: mean recall of the classes with that many training "
        "rows",
        table=FIRST,
        chosen=True,
    ),
    Measure("medium", table=FIRST, chosen=True),
    Measure("few", table=FIRST, chosen=True),
    Measure("worst_class", "worst", "*worst*: recall of the worst class", table=FIRST, chosen=True),
    Measure("g_mean", "G-mean", "*G-mean*: geometric mean of the recalls", chosen=True),
    Measure("macro_f1", "F1", "*F1*: mean over classes", chosen=True),
    Measure(
        "macro_auc",
        "AUC",
        "*AUC*: area under the ROC curve, mean over classes, each against the rest",
        chosen=True,
    ),
    Measure(
        "expected_calibration_error",
        "ECE",
        "*ECE*: expected calibration error in 15 bins, lower is better",
        better="lower",
        chosen=True,
    ),
)
"""Of what tells classes apart, in the order of tables; `scoring.metrics` computes them."""

NAMES = tuple(measure.name for measure in CLASSIFICATION)


def stored(measures: Sequence[Measure]) -> tuple[str, ...]:
    """The names of those that records hold, in their order."""
    return tuple(measure.name for measure in measures if measure.stored)
