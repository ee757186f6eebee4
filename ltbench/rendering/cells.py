"""What all tables share: cells, legends and how numbers are written."""

import html
import re
from collections.abc import Sequence
from textwrap import wrap

from tabulate import tabulate

from ltbench.scoring.measures import Measure, figures
from ltbench.scoring.statistics import Cost, Mean, Resolution

DASH = "–"
UNLIKE = 1.25  # the largest cost of a seed over the smallest, from which on both are shown
NEXT_TO_NOTHING = 0.1  # a cost whose range tells nothing


def table_of(headers: list[str], rows: list[list[str]]) -> str:
    align = ["left" if header in ("recipe", "table", "method") else "right" for header in headers]
    text: str = tabulate(rows, headers, tablefmt="pipe", colalign=align, disable_numparse=True)
    return text


def legend(*parts: str) -> str:
    return "\n".join(wrap("; ".join(parts) + ".", width=100, break_long_words=False))


def recipe_cell(recipe: str, notes: Sequence[str]) -> str:
    """The recipe; a star says that a note on it stands below."""
    return code(recipe) + (" \\*" if notes else "")


def code(text: str) -> str:
    """A text of others as code of one line, also in a cell."""
    line = " ".join(text.split()).replace("|", "\\|")
    longest = max(map(len, re.findall("`+", line)), default=0)
    fence, space = "`" * (longest + 1), " " * bool(longest)
    return f"{fence}{space}{line}{space}{fence}"


def plain(text: str) -> str:
    """A text of others as one line in which nothing is markup."""
    line = re.sub(r"[\\`*\[\]|~]", r"\\\g<0>", " ".join(text.split()))
    return html.escape(line, quote=False)


def measured(measure: Measure, mean: Mean | None, sign: str = "", bounds: bool = True) -> str:
    """A mean of a measure in its unit, with its interval where there is one.

    Of an interval that ends at a limit the other half is shown.
    """
    if mean is None or mean.mean is None:
        return DASH
    text = measure.written(mean.mean, sign)
    if bounds and mean.low is not None and mean.high is not None:
        text += f" ± {measure.written(max(mean.high - mean.mean, mean.mean - mean.low))}"
    return text


def percent(mean: Mean | None, sign: str = "", bounds: bool = True) -> str:
    """A mean share in percent."""
    return measured(SHARE, mean, sign, bounds)


SHARE = Measure("share")


def title(protocol: str, cells: int, wanted: int) -> str:
    """What a board is of, and whether it lacks cells."""
    return f"# {protocol}" + (f", incomplete: {cells} of {wanted} cells" if cells < wanted else "")


def spans(numbers: Sequence[int]) -> str:
    """Whole numbers, which rise, as "0 to 4, 9"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    told = (f"{one[0]} to {one[-1]}" if len(one) > 1 else str(one[0]) for one in parts)
    return ", ".join(told)


def amount(measure: Measure, value: float) -> str:
    """A difference in words; those of shares are in points."""
    if measure.unit == "%":
        return f"{figures(100 * value)} points"
    unit = {"s": "seconds", "x": ""}.get(measure.unit, measure.unit)
    return f"{measure.written(value)} {unit}".strip()


def resolved(measure: Measure, found: Resolution, over: str, what: str, apart: str = "") -> str:
    """What a table can tell of its pairs or rows, whose differences are over seeds or tables."""
    if found.spread is None or found.alone is None or found.corrected is None:
        return f"These are too few {over} to tell {what} apart{apart}."
    return "\n".join(
        wrap(
            f"Over {found.n} {over}, {found.told_apart} of {found.pairs} {what} are told "
            f"apart{apart}. Their differences have a standard deviation of "
            f"{amount(measure, found.spread)} in the median; at that, a true difference of "
            f"{amount(measure, found.alone)} is seen four times in five if it is looked at alone, "
            f"and one of {amount(measure, found.corrected)} among all.",
            width=100,
        )
    )


def cost_cell(cost: Cost) -> str:
    """A cost in units of plain training; with its range over seeds, if that is wide."""
    if cost.relative is None:
        return DASH
    text = f"{_times(cost.relative)}x"
    low, high = cost.relative_low, cost.relative_high
    if low is not None and high is not None and high >= max(UNLIKE * low, NEXT_TO_NOTHING):
        text += f" ({_times(low)}–{_times(high)})"
    return text


def _times(value: float) -> str:
    """A ratio of costs, which two seeds tell to some hundredths of it at best."""
    return figures(value, decimals=1 if value >= 0.5 else 2)


def seconds(value: float | None, decimals: int = 2) -> str:
    return DASH if value is None else figures(value, decimals=decimals)


def number(value: float | None, form: str) -> str:
    return DASH if value is None else form.format(value)
