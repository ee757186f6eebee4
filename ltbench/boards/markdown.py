"""A leaderboard as Markdown or a pandas frame."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ltbench.boards.agnostic import SPLITS, Agnostic
from ltbench.boards.leaderboard import Contrast, Leaderboard, Row
from ltbench.boards.stability import HARSH, MILD, Stability
from ltbench.contract.track import Table
from ltbench.rendering.cells import (
    DASH,
    code,
    legend,
    measured,
    number,
    percent,
    plain,
    recipe_cell,
    table_of,
)
from ltbench.scoring.measures import FIRST, SECOND, Measure
from ltbench.scoring.statistics import Mean

if TYPE_CHECKING:
    import pandas


def frame(board: Leaderboard) -> "pandas.DataFrame":
    """A row for each recipe; intervals stand in columns that end in _low and _high."""
    import pandas

    return pandas.DataFrame([_flat(row) for row in board.rows])


def _flat(row: Row) -> dict[str, Any]:
    best, worst = row.rank or (None, None)
    flat: dict[str, Any] = {"recipe": row.recipe, "rank_best": best, "rank_worst": worst}
    for name, mean in {**row.measures, "delta": row.delta or Mean(None, None, None)}.items():
        flat |= {name: mean.mean, f"{name}_low": mean.low, f"{name}_high": mean.high}
    return {**flat, **msgspec.to_builtins(row.cost), "control": row.control, **row.status}


def markdown(board: Leaderboard) -> str:
    """The tables, in percent where they show shares, and what one needs to know to read them."""
    ranking, reference = board.measure(board.asked[0]), board.reference
    beside, below = (_standing(board, table) for table in (FIRST, SECOND))
    beside = [measure for measure in beside if measure != ranking]
    below = [measure for measure in below if measure != ranking]
    blocks = [
        f"# {board.protocol}",
        board.description,
        table_of(
            ["rank", "recipe", ranking.called, f"over {reference}", *_called(beside), "cost"],
            [
                [
                    _rank(row),
                    recipe_cell(row.recipe, row.notes),
                    measured(ranking, row.measures[ranking.name]),
                    measured(ranking, row.delta if row.recipe != reference else None, sign="+"),
                    *_cells(row, beside),
                    number(row.cost.relative, "{:.2f}x"),
                ]
                for row in board.rows
            ],
        ),
        legend(
            _of_seeds(ranking),
            f"*over {reference}*: the difference in {ranking.called} to "
            f"{'it' if reference != 'erm' else 'plain training'} with the same seeds",
            "rows share a rank if the 95 % interval of their paired difference includes zero",
            *(["the lowest value ranks first"] if ranking.better == "lower" else []),
            *_explained([ranking, *beside]),
            *_otherwise(beside, ranking),
            f"*cost*: processor time (on a GPU, time) of {board.doing} in units of {board.unit}, "
            "which is timed around each cell in the same process",
        ),
        table_of(
            ["recipe", *_called(below), "passes", "s", "MB", "cells"],
            [
                [
                    recipe_cell(row.recipe, row.notes),
                    *_cells(row, below),
                    number(row.cost.passes, "{:.2f}"),
                    number(row.cost.seconds, "{:.2f}"),
                    number(row.cost.peak_memory_mb, "{:.1f}"),
                    ", ".join(f"{n} {status}" for status, n in row.status.items() if n),
                ]
                for row in board.rows
            ],
        ),
        legend(
            *_explained(below),
            *_otherwise(below, ranking),
            "*passes*: rows whose gradient was computed, in units of plain training",
            f"*s*: seconds of {board.doing}",
            "*MB*: memory above the idle process",
        ),
        *(block for table in board.tables for block in _own(board, table)),
        "\n".join(_contrast(ranking, contrast) for contrast in board.contrasts),
        *_transductive(board, ranking),
        *_quoted(board),
        "\n".join(
            f"- {code(row.recipe)}: {plain(note)}" for row in board.rows for note in row.notes
        ),
        "\n".join(
            f"- Seconds and memory were measured on {plain(machine)}." for machine in board.machines
        ),
        _said(board.mixture),
        f"Protocol {board.protocol} version {board.version}, hash `{board.hash}`.",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _said(mixture: Sequence[str]) -> str:
    """What is to be said of records that are not all of one code or machine."""
    return "\n".join(f"- {plain(said)}" for said in mixture)


def with_mixture(text: str, mixture: Sequence[str]) -> str:
    """A board of a track's own, and below it what is to be said of its records."""
    return f"{text}\n{_said(mixture)}\n" if mixture else text


def _standing(board: Leaderboard, table: str) -> list[Measure]:
    """The measures of a table: those asked for, in that order, then all others with a value."""
    asked = [board.measure(name) for name in board.asked]
    others = [one for one in board.measures if one not in asked and not one.chosen]
    return [
        measure
        for measure in (*asked, *others)
        if measure.table == table
        and (
            measure.chosen or any(row.measures[measure.name].mean is not None for row in board.rows)
        )
    ]


def _called(measures: Sequence[Measure]) -> list[str]:
    """The headers of measures; those that share a label share a column."""
    return list(dict.fromkeys(measure.called for measure in measures))


def _cells(row: Row, measures: Sequence[Measure]) -> list[str]:
    of_label: dict[str, list[str]] = {}
    for measure in measures:
        cell = measured(measure, row.measures[measure.name], bounds=False)
        of_label.setdefault(measure.called, []).append(cell)
    return [DASH if set(cells) == {DASH} else ", ".join(cells) for cells in of_label.values()]


def _explained(measures: Sequence[Measure]) -> list[str]:
    return list(dict.fromkeys(one.explanation for one in measures if one.explanation))


def _of_seeds(measure: Measure) -> str:
    """How the numbers of a measure come from those of seeds, and in what they are told."""
    intervals = " with 95 % intervals" if measure.typical == "mean" else ""
    told = f"{measure.typical}s over seeds{intervals}"
    return f"In {_unit(measure)}: {told}" if _unit(measure) else f"{told[0].upper()}{told[1:]}"


def _otherwise(measures: Sequence[Measure], ranking: Measure) -> list[str]:
    """What is told of columns in another unit than that of what ranks, and of medians."""
    told: dict[str, list[str]] = {}
    for measure in measures:
        if _unit(measure) and measure.unit != ranking.unit:
            told.setdefault(f"in {_unit(measure)}", []).append(f"*{measure.called}*")
        if measure.typical != ranking.typical:
            told.setdefault(f"{measure.typical}s over seeds", []).append(f"*{measure.called}*")
    return [f"{', '.join(dict.fromkeys(labels))}: {what}" for what, labels in told.items()]


def _unit(measure: Measure) -> str:
    """The unit of a measure's numbers, where these do not show it."""
    return {"%": "percent", "s": "seconds", "x": ""}.get(measure.unit, measure.unit)


def _own(board: Leaderboard, table: Table) -> list[str]:
    """A table of the track's own, of the rows that have something in it."""
    shown = _standing(board, table.name)
    rows = [r for r in board.rows if any(r.measures[m.name].mean is not None for m in shown)]
    if not rows:
        return []
    cells = [[recipe_cell(row.recipe, []), *_cells(row, shown)] for row in rows]
    said = legend(*table.before, *_explained(shown), *table.after)
    return [table_of(["recipe", *_called(shown)], cells), said]


def _contrast(ranking: Measure, contrast: Contrast) -> str:
    gap = contrast.difference
    told = f"- {code(contrast.first)} over {code(contrast.second)}: "
    told += measured(ranking, gap, sign="+")
    if gap.low is None or gap.high is None or contrast.error is None:
        return f"{told}, of too few seeds to tell"
    told += f" (standard error {ranking.written(contrast.error)})"
    if contrast.recovered is not None:
        told += f", {100 * contrast.recovered:.0f} % of what imbalance costs the latter"
    ends = ranking.sign * gap.low, ranking.sign * gap.high
    if min(ends) > 0:
        return f"{told}, a gain"
    return f"{told}, {'a loss' if max(ends) < 0 else 'no difference shown'}"


def agnostic(table: Agnostic) -> str:
    """Accuracy on test splits with a tail of their own, in percent."""
    short = [f"{name[0].upper()}{name.partition('-')[2]}" for name in SPLITS]
    rows = [
        [code(row.recipe), *(percent(row.accuracy[name], bounds=False) for name in SPLITS)]
        for row in table.rows
    ]
    blocks = [
        f"# {table.protocol}, test-agnostic",
        table_of(["recipe", *short], rows),
        legend(
            "Accuracy in percent on test splits with a tail of their own, from stored "
            "predictions, mean over seeds; F50: the classes with most training rows also have "
            "most test rows, 50 times those of the last; U: uniform; B: the other way round "
            "(arXiv:2107.09249)",
            "a method that uses test inputs stands here as it is before it does",
        ),
    ]
    return "\n\n".join(blocks) + "\n"


def stability(table: Stability) -> str:
    """What each recipe loses as the tail grows longer."""
    measure = table.measure
    what = measure.called + (f" in {_unit(measure)}" if _unit(measure) else "")
    rows = [
        [
            code(row.recipe),
            str(row.seeds),
            *(measured(measure, mean) for mean in (row.mild, row.harsh, row.drop)),
        ]
        for row in table.rows
    ]
    blocks = [
        f"# {table.mild} to {table.harsh}",
        table_of(["recipe", "seeds", f"at factor {MILD}", f"at factor {HARSH}", "drop"], rows),
        legend(
            f"{what[:1].upper()}{what[1:]}, means over the seeds that both protocols have, with "
            "95 % intervals; that of the *drop* is of the paired difference",
            "the two protocols differ in their factor alone",
        ),
    ]
    return "\n\n".join(blocks) + "\n"


def _quoted(board: Leaderboard) -> list[str]:
    """Figures of others in a table of their own, beside what the same recipe reached here."""
    if not board.quoted:
        return []
    here = {row.recipe: row for row in board.rows}
    rows = [
        [
            code(method) if method in here else plain(method),
            " ± ".join(f"{value:.1f}" for value in told),
            percent(here[method].measures["accuracy"]) if method in here else DASH,
            f"[{number}]",
        ]
        for number, source in enumerate(board.quoted, 1)
        for method, told in source.accuracy.items()
    ]
    sources = [
        f"- [{number}] {plain(source.reference)}, {plain(source.place)}: {plain(source.conditions)}"
        for number, source in enumerate(board.quoted, 1)
    ]
    return [
        "Quoted, not measured here:",
        table_of(["method", "accuracy as quoted", "measured here", "source"], rows),
        legend(
            "Accuracy in percent as others published it, with the spread over their repeats where "
            "they told it; no rank is given, as their conditions differ from the protocol's",
            "*measured here*: the same recipe in the table above, with a 95 % interval",
        ),
        "\n".join(sources),
    ]


def _transductive(board: Leaderboard, ranking: Measure) -> list[str]:
    """Rows that used unlabelled test inputs stand apart, never among the others."""
    rows = [
        [recipe_cell(row.recipe, row.notes), measured(ranking, row.transductive.get(ranking.name))]
        for row in board.rows
        if row.transductive is not None
    ]
    if not rows:
        return []
    return [
        "After using the unlabelled test inputs:",
        table_of(["recipe", ranking.called], rows),
    ]


def _rank(row: Row) -> str:
    if row.rank is None:
        return DASH
    best, worst = row.rank
    return str(best) if best == worst else f"{best}–{worst}"
