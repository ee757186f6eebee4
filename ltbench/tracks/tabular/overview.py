"""A comparison over tables as an overview: what its pages, figures and LaTeX are made of."""

from collections.abc import Sequence

from ltbench.rendering.cells import DASH, measured, resolved
from ltbench.rendering.figures import CriticalDifference, Figure, Heat
from ltbench.rendering.overview import Entry, Overview, verdict_of
from ltbench.scoring.measures import Measure
from ltbench.scoring.statistics import LEVEL, Mean
from ltbench.tracks.tabular.comparison import Against, Compared, Comparison
from ltbench.tracks.tabular.markdown import explained, record_of, what_over
from ltbench.tracks.tabular.measures import MEASURES, ranking_of
from ltbench.tracks.tabular.problem import PLAIN, TUNED


def overview(board: Comparison) -> Overview:
    """What a comparison has in common with all other boards."""
    measure = ranking_of(board.ranking)
    others = [one for one in MEASURES if one != measure]
    return Overview(
        protocol=board.protocol,
        version=board.version,
        hash=board.hash,
        track="tabular",
        description=board.description,
        cells=board.cells,
        wanted=board.wanted,
        reference=PLAIN,
        ranking=measure,
        measures=[measure, *others],
        entries=[
            _entry(board, measure, row) for row in sorted(board.rows, key=lambda row: not row.whole)
        ],
        over=what_over(board),
        said=[one for one in explained(board) if one[0] not in "†‡"],
        resolved=resolved(
            measure, board.resolution, what_over(board), "rows", f" from {board.floor}"
        )
        if board.resolution is not None
        else "",
        doing="fitting",
        unit="plain learners",
        machines=board.machines,
        remarks=[],
        counts=board.tables,
        figures=figures(board, measure),
    )


def _entry(board: Comparison, measure: Measure, row: Compared) -> Entry:
    gain = row.over_plain.difference if row.over_plain else None
    p = row.over_plain.adjusted_p if row.over_plain else None
    first = [one for one in board.rows if "a" in one.group]
    return Entry(
        recipe=row.recipe,
        rank=DASH if row.average_rank is None else f"{row.average_rank:.1f} {row.group}",
        place=None,
        means=row.metrics,
        gain=gain,
        gains=_gains(board, measure, row),
        verdict=verdict_of(gain),
        holds=None if p is None else p <= LEVEL,
        best=first == [row] and len(board.rows) > 1,
        cost=row.cost,
        seeds=row.status["ok"],
        status=row.status,
        notes=row.notes,
        further={
            f"over {TUNED}": measured(measure, _difference(row.over_tuned), sign="+"),
            f"won/tied/lost against {PLAIN}": record_of(row.over_plain),
            f"won/tied/lost against {TUNED}": record_of(row.over_tuned),
        },
    )


def _difference(against: Against | None) -> Mean | None:
    return None if against is None else against.difference


def _gains(board: Comparison, measure: Measure, row: Compared) -> list[float]:
    """The gain on each table, of a recipe that every learner takes, so that both are of the same
    problems."""
    plain = next((one for one in board.rows if one.recipe == PLAIN), None)
    if plain is None or not row.whole or row is plain:
        return []
    return [gain for gain in _by_table(measure, row, plain) if gain is not None]


def _by_table(measure: Measure, row: Compared, plain: Compared) -> list[float | None]:
    told = []
    for name, value in row.by_table.items():
        base = plain.by_table[name]
        known = value is not None and base is not None
        told.append(round(measure.sign * (value - base), 6) if known else None)  # type: ignore[operator]
    return told


def figures(board: Comparison, measure: Measure) -> Sequence[Figure]:
    """Average ranks with their critical difference, and the gain of each recipe on each table."""
    drawn: list[Figure] = []
    ranked = [row for row in board.rows if row.average_rank is not None]
    if board.friedman is not None:
        ranked.sort(key=lambda row: (row.average_rank, row.recipe))
        drawn.append(
            CriticalDifference(
                [row.recipe for row in ranked],
                [row.average_rank for row in ranked if row.average_rank is not None],
                board.friedman.critical_difference,
                board.friedman.tables,
            )
        )
    plain = next((one for one in board.rows if one.recipe == PLAIN), None)
    whole = [row for row in board.rows if row.whole and row is not plain]
    if plain is not None and whole:
        drawn.append(
            Heat(
                f"gain in {measure.called} over {PLAIN} on each table",
                [row.recipe for row in whole],
                list(board.tables),
                [_by_table(measure, row, plain) for row in whole],
                measure,
            )
        )
    return drawn
