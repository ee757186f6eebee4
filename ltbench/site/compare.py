"""What the page that compares two recipes reads: every pair of a board, as its statistics have it.

Each file is a script that hands over data, as a page that was opened from a disk may read no other.
"""

from collections.abc import Sequence

import msgspec

from ltbench.rendering.cells import cost_cell, measured
from ltbench.rendering.overview import Overview
from ltbench.site.drawn.axes import parts
from ltbench.texts import visible

MOST = 150  # recipes of a board, the best ranked first, of which pairs are told


def index(boards: Sequence[Overview]) -> bytes:
    """Which recipes stand on which boards."""
    told = [
        {
            "name": board.protocol,
            "track": board.track,
            "recipes": [visible(one.recipe) for one in board.entries[:MOST]],
        }
        for board in boards
    ]
    return _script("boards", told)


def pairs(board: Overview) -> bytes:
    """What each recipe of a board reached, and the differences of each two that are ranked."""
    ranking, sign = board.ranking, board.ranking.sign
    entries = board.entries[:MOST]
    among = board.pairs
    own = [] if among is None else among.recipes[:MOST]
    gaps = []
    if among is not None:
        n, k = len(among.recipes), 0
        for first in range(n):
            for second in range(first + 1, n):
                if second < len(own):
                    gap, half = among.difference[k], among.half[k]
                    gaps.append(
                        [
                            None if gap is None else round(sign * ranking.scaled(gap), 3),
                            None if half is None else round(ranking.scaled(half), 3),
                            among.p[k],
                            among.adjusted_p[k],
                        ]
                    )
                k += 1
    told = {
        "name": board.protocol,
        "measure": ranking.called,
        "unit": "points" if ranking.unit == "%" else ranking.unit,
        "over": board.over,
        "counts": parts(board.counts.get("", [])),
        "recipes": {
            visible(one.recipe): {
                "rank": one.rank,
                "value": measured(ranking, one.means[ranking.name]),
                "cost": cost_cell(one.cost),
                "recall": parts(one.recall),
            }
            for one in entries
        },
        "ranked": [visible(name) for name in own],
        "pairs": gaps,
    }
    return _script("board", told)


def _script(name: str, told: object) -> bytes:
    text = msgspec.json.encode(told, order="deterministic").decode()
    return f'ltbench("{name}", {text});\n'.encode()
