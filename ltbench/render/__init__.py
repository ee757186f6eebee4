"""Tables as Markdown, CSV, JSON or a pandas frame; the same records give the same bytes."""

from typing import TYPE_CHECKING

import msgspec

from ltbench.agnostic import Agnostic
from ltbench.comparisons import Comparison
from ltbench.leaderboards import Leaderboard
from ltbench.render import comparison, leaderboard
from ltbench.render.leaderboard import agnostic as agnostic
from ltbench.render.leaderboard import stability as stability
from ltbench.stability import Stability

if TYPE_CHECKING:
    import pandas


def markdown(board: Leaderboard | Comparison) -> str:
    """The tables in percent, and what one needs to know to read them."""
    if isinstance(board, Comparison):
        return comparison.markdown(board)
    return leaderboard.markdown(board)


def frame(board: Leaderboard | Comparison) -> "pandas.DataFrame":
    """A row for each recipe; intervals stand in columns that end in _low and _high."""
    if isinstance(board, Comparison):
        return comparison.frame(board)
    return leaderboard.frame(board)


def csv(board: Leaderboard | Comparison) -> str:
    text: str = frame(board).to_csv(index=False, lineterminator="\n")
    return text


def json(board: Leaderboard | Comparison | Agnostic | Stability) -> str:
    return msgspec.json.format(msgspec.json.encode(board), indent=1).decode() + "\n"
