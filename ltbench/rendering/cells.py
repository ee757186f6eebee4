"""What all tables share: cells, legends and how numbers are written."""

import html
import re
from collections.abc import Sequence
from textwrap import wrap

from tabulate import tabulate

from ltbench.scoring.measures import Measure
from ltbench.scoring.statistics import Mean

DASH = "–"


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
    """A mean of a measure in its unit, with its interval where there is one."""
    if mean is None or mean.mean is None:
        return DASH
    text = measure.written(mean.mean, sign)
    if bounds and mean.high is not None:
        text += f" ± {measure.written(mean.high - mean.mean)}"
    return text


def percent(mean: Mean | None, sign: str = "", bounds: bool = True) -> str:
    """A mean share in percent."""
    return measured(SHARE, mean, sign, bounds)


SHARE = Measure("share")


def number(value: float | None, form: str) -> str:
    return DASH if value is None else form.format(value)
