"""A leaderboard as an overview: what its pages, figures and LaTeX are made of."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ltbench.boards.leaderboard import Leaderboard, Row
from ltbench.boards.markdown import explained, outcome_of, said_of
from ltbench.contract.track import Track
from ltbench.rendering.cells import DASH, resolved
from ltbench.rendering.figures import Twin, Twins
from ltbench.rendering.overview import Entry, Overview, turned, verdict_of
from ltbench.results.records import Record
from ltbench.scoring.measures import Measure
from ltbench.scoring.statistics import LEVEL


def overview(track: Track[Any], board: Leaderboard, records: Sequence[Record]) -> Overview:
    """What a board has in common with all others, with what its records tell beyond it."""
    ranking = board.measure(board.asked[0])
    of_recipe: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        of_recipe[record.recipe].append(record)
    values = {recipe: _values(ranking, own) for recipe, own in of_recipe.items()}
    against = values.get(board.reference, {})
    made = Overview(
        protocol=board.protocol,
        version=board.version,
        hash=board.hash,
        track=board.track,
        description=board.description,
        cells=board.cells,
        wanted=board.wanted,
        reference=board.reference,
        ranking=ranking,
        measures=_shown(board),
        entries=[
            _entry(board, ranking, row, values.get(row.recipe, {}), against, of_recipe[row.recipe])
            for row in board.rows
        ],
        over="seeds",
        said=explained(board),
        resolved=resolved(ranking, board.resolution, "seeds", "pairs of rows"),
        doing=board.doing,
        unit=board.unit,
        machines=board.machines,
        remarks=[*board.remarks, *map(said_of, board.verified)],
        counts={"": _counts(records)},
        pairs=board.pairs,
        contrasts=[(one.first, one.second, outcome_of(ranking, one)) for one in board.contrasts],
    )
    return replace(made, figures=(*_twins(made), *track.figures(made)))


def _twins(made: Overview) -> list[Twins]:
    """What each recipe reaches, and what on its balanced twin, where a measure `twin` tells that.

    It stands here, as a line in a track's own files would make another code of its records.
    """
    if all(one.name != "twin" for one in made.measures):
        return []
    ranking, rows = made.ranking, []
    for entry in made.entries:
        own, twin = (entry.means[name].mean for name in (ranking.name, "twin"))
        if own is not None and twin is not None:
            rows.append(Twin(entry.recipe, own, twin))
    title = f"{ranking.called} on long-tailed rows and on as many that are balanced"
    return [Twins(title, "long-tailed", "balanced twin", rows, ranking)] if rows else []


def _values(measure: Measure, own: Sequence[Record]) -> dict[int, float]:
    found = {one.seed: one.measures.get(measure.name) for one in own}
    return {seed: value for seed, value in sorted(found.items()) if value is not None}


def _entry(
    board: Leaderboard,
    ranking: Measure,
    row: Row,
    values: dict[int, float],
    against: Mapping[int, float],
    own: Sequence[Record],
) -> Entry:
    gain = turned(row.delta, ranking.sign) if row.recipe != board.reference else None
    told = row.delta_adjusted_p
    rank = None if row.apart else row.rank  # among its like alone
    alone = rank is not None and rank == (1, 1)
    return Entry(
        recipe=row.recipe,
        rank=DASH if rank is None else _range(*rank),
        place=rank,
        means=row.measures,
        gain=gain,
        gains=[ranking.sign * (values[s] - against[s]) for s in values if s in against]
        if gain is not None
        else [],
        verdict=verdict_of(gain),
        holds=None if told is None or gain is None else told <= LEVEL,
        best=alone and sum(other.rank is not None for other in board.rows) > 1,
        cost=row.cost,
        seeds=row.seeds,
        status=row.status,
        notes=row.notes,
        control=row.control or row.apart,
        values=values,
        recall=_recall(own),
    )


def _range(best: int, worst: int) -> str:
    return str(best) if best == worst else f"{best}–{worst}"


def _shown(board: Leaderboard) -> list[Measure]:
    """The measures that any row has a value of, those asked for first."""
    asked = [board.measure(name) for name in board.asked]
    others = [one for one in board.measures if one not in asked]
    return [
        one
        for one in (*asked, *others)
        if any(row.measures[one.name].mean is not None for row in board.rows)
    ]


def _order(record: Record) -> list[int]:
    """The classes of a record from head to tail."""
    counts = record.class_counts
    return sorted(range(len(counts)), key=lambda c: -counts[c])


def _recall(own: Sequence[Record]) -> list[float | None]:
    """The mean recall over seeds of the class that is at each place from head to tail."""
    told = [[one.recall[c] for c in _order(one)] for one in own if _has_recall(one)]
    width = max(map(len, told), default=0)
    array = np.array([one for one in told if len(one) == width], dtype=np.float64)
    if not array.size:
        return []
    there = ~np.isnan(array)
    n = there.sum(axis=0)
    total = np.where(there, array, 0.0).sum(axis=0)
    return [round(t / k, 6) if k else None for t, k in zip(total.tolist(), n.tolist(), strict=True)]


def _has_recall(record: Record) -> bool:
    return bool(record.recall) and len(record.recall) == len(record.class_counts)


def _counts(records: Sequence[Record]) -> list[int]:
    """The rows of each class from head to tail, as the first record that tells them has them."""
    told = next((one.class_counts for one in records if one.class_counts), [])
    return sorted(told, reverse=True)
