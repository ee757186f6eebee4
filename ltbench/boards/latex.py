"""A board as LaTeX, for a paper: rules of booktabs, intervals, bold where that is earned."""

import re
import unicodedata

from ltbench.rendering.cells import DASH, cost_cell, measured
from ltbench.rendering.overview import Entry, Overview
from ltbench.scoring.measures import FIRST
from ltbench.scoring.statistics import Mean
from ltbench.texts import visible

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "–": "--",
    "±": r"$\pm$",
}


def latex(board: Overview) -> str:
    """A table; needs the packages booktabs and, for quotation marks, T1 fonts."""
    ranking = board.ranking
    beside = [one for one in board.measures if one.table == FIRST and one != ranking]
    headers = ["recipe", "rank", ranking.called, f"over {board.reference}"]
    headers += [*(one.called for one in beside), "cost"]
    lines = [
        " & ".join(
            [
                _recipe(one),
                escaped(one.rank),
                _number(measured(ranking, one.means[ranking.name]), one.best),
                _number(measured(ranking, _over(board, one), sign="+")),
                *(_number(measured(m, one.means[m.name], bounds=False)) for m in beside),
                _number(cost_cell(one.cost)),
            ]
        )
        + r" \\"
        for one in board.entries
    ]
    parts = [
        f"% {board.protocol}, version {board.version}, hash {board.hash}; needs booktabs",
        r"\begin{tabular}{l" + "r" * (len(headers) - 1) + "}",
        r"\toprule",
        " & ".join(map(escaped, headers)) + r" \\",
        r"\midrule",
        *lines,
        r"\bottomrule",
        r"\end{tabular}",
        *_comment(
            f"In {'percent' if ranking.unit == '%' else ranking.unit or 'its own unit'}, with 95 % "
            f"intervals over {board.over}; the gain over {board.reference} is a paired difference, "
            "above zero where the row is better. Bold: told apart from all other rows."
        ),
        *_comment(board.resolved),
    ]
    return "\n".join(parts) + "\n"


def _over(board: Overview, one: Entry) -> Mean | None:
    return one.gain if one.recipe != board.reference else None


def _recipe(one: Entry) -> str:
    name = rf"\texttt{{{escaped(one.recipe)}}}"
    return rf"\textbf{{{name}}}" if one.best else name


def _number(text: str, bold: bool = False) -> str:
    """A number with its interval, its minus as wide as its plus."""
    if text == DASH:
        return "--"
    told = re.sub(r"(?<![-\w])-(?=\d)", "$-$", escaped(text))
    return rf"\textbf{{{told}}}" if bold else told


def _comment(text: str) -> list[str]:
    return [f"% {visible(line)}" for line in text.splitlines() if line.strip()]


def escaped(text: str) -> str:
    """A text of others as text of LaTeX: nothing in it is a command; what few fonts have, and what
    is not seen, is told by its code."""
    shown = re.sub(r"-(?=-)", "-{}", visible(" ".join(text.split())))
    told = "".join(SPECIAL.get(letter, letter) for letter in shown).replace(r"-\{\}", "-{}")
    return "".join(letter if _is_common(letter) else _code(letter) for letter in told)


def _is_common(letter: str) -> bool:
    """Whether LaTeX knows it as it stands: what Latin script and its marks have."""
    return letter.isascii() or (
        ord(letter) < 0x180 and unicodedata.category(letter)[0] in "LP" and letter != "‹"
    )


def _code(letter: str) -> str:
    return "" if letter in "‹›" else rf"[U+{ord(letter):04X}]"
