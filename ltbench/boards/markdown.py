"""A leaderboard as Markdown or a pandas frame."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ltbench.boards.agnostic import SPLITS, Agnostic
from ltbench.boards.leaderboard import Contrast, Leaderboard, Row, Verified
from ltbench.boards.stability import HARSH, MILD, Stability
from ltbench.contract.track import Table
from ltbench.rendering.cells import (
    DASH,
    UNLIKE,
    code,
    cost_cell,
    legend,
    measured,
    number,
    percent,
    plain,
    recipe_cell,
    resolved,
    seconds,
    spans,
    table_of,
    title,
)
from ltbench.scoring.measures import FIRST, SECOND, Measure
from ltbench.scoring.statistics import NOTHING

if TYPE_CHECKING:
    import pandas


def frame(board: Leaderboard) -> "pandas.DataFrame":
    """A row for each recipe; intervals stand in columns that end in _low and _high.

    What the table as a whole can tell stands in each row: `detectable_alone`, `detectable`.
    """
    import pandas

    whole = {
        "detectable_alone": board.resolution.alone,
        "detectable": board.resolution.corrected,
    }
    return pandas.DataFrame([_flat(row) | whole for row in board.rows])


def _flat(row: Row) -> dict[str, Any]:
    best, worst = row.rank or (None, None)
    flat: dict[str, Any] = {"recipe": row.recipe, "rank_best": best, "rank_worst": worst}
    for name, mean in {**row.measures, "delta": row.delta or NOTHING}.items():
        flat |= {name: mean.mean, f"{name}_low": mean.low, f"{name}_high": mean.high}
    flat |= {"delta_p": row.delta_p, "delta_adjusted_p": row.delta_adjusted_p}
    flat |= {"board_seeds": row.board_seeds, "missing_seeds": row.missing_seeds}
    cost = msgspec.to_builtins(row.cost)
    flat = {**flat, "seeds": row.seeds, **cost, "control": row.control, **row.status}
    if row.submission is None:
        return flat
    used = msgspec.to_builtins(row.submission.resources)
    return {**flat, "submitted_by": row.submission.who, **used, "apart": row.apart}


def markdown(board: Leaderboard) -> str:
    """The tables, in percent where they show shares, and what one needs to know to read them."""
    ranking, reference = board.measure(board.asked[0]), board.reference
    beside, below = (_standing(board, table) for table in (FIRST, SECOND))
    beside = [measure for measure in beside if measure != ranking]
    below = [measure for measure in below if measure != ranking]
    doubted = _doubted(board)
    blocks = [
        title(board.protocol, board.cells, board.wanted),
        board.description,
        table_of(
            ["rank", "recipe", ranking.called, f"over {reference}", *_called(beside), "cost"],
            [
                [
                    _rank(row),
                    recipe_cell(row.recipe, row.notes)
                    + _of_seeds(row)
                    + " ‡" * (row.recipe in doubted),
                    measured(ranking, row.measures[ranking.name]),
                    measured(ranking, row.delta if row.recipe != reference else None, sign="+"),
                    *_cells(row, beside),
                    cost_cell(row.cost),
                ]
                for row in board.rows
                if not row.apart
            ],
        ),
        legend(*explained(board)),
        resolved(ranking, board.resolution, "seeds", "pairs of rows"),
        _order(board),
        table_of(
            ["recipe", *_called(below), "passes", "work s", "cells"],
            [
                [
                    recipe_cell(row.recipe, row.notes),
                    *_cells(row, below),
                    number(row.cost.passes, "{:.2f}"),
                    seconds(row.cost.work),
                    ", ".join(f"{n} {status}" for status, n in row.status.items() if n),
                ]
                for row in board.rows
            ],
        ),
        legend(
            *_explained(board, below),
            *_otherwise(below, ranking),
            "*passes*: rows whose gradient was computed, in units of plain training",
            f"*work s*: seconds of the processor (on a GPU, of the clock) for {board.doing}",
        ),
        *(block for table in board.tables for block in _own(board, table)),
        *_contrasts(board, ranking),
        *_submitted(board, ranking),
        *_transductive(board, ranking),
        *_quoted(board),
        "\n".join(
            f"- {code(row.recipe)}: {plain(note)}" for row in board.rows for note in row.notes
        ),
        "\n".join(
            [
                *(f"- {plain(remark)}." for remark in board.remarks),
                *_which(board.seeds),
                *(f"- {plain(said_of(one))}." for one in board.verified),
                *(["- The other rows are self-reported."] if board.verified else []),
                *(f"- Costs were measured on {plain(machine)}." for machine in board.machines),
            ]
        ),
        f"Protocol {board.protocol} version {board.version}, hash `{board.hash}`.",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def explained(board: Leaderboard) -> list[str]:
    """What one needs to know to read the first table, in clauses."""
    ranking, reference = board.measure(board.asked[0]), board.reference
    beside = [measure for measure in _standing(board, FIRST) if measure != ranking]
    return [
        _typically(ranking),
        "seeds differ in much that is alike for all rows, so rows are compared by differences "
        "with the same seeds, not by their intervals",
        f"*over {reference}*: the difference in {ranking.called} to "
        f"{'it' if reference != 'erm' else 'plain training'}, with its own 95 % interval",
        "*rank*: from one more than the rows that are told apart above to the last less those "
        "told apart below",
        "two rows are told apart, though their ranges may overlap, if their difference holds "
        "at 5 % by Benjamini and Hochberg's procedure for all pairs of ranked rows",
        *(["the lowest value ranks first"] if ranking.better == "lower" else []),
        *_short(board),
        *_explained(board, [ranking, *beside]),
        *_otherwise(beside, ranking),
        f"*cost*: processor time (on a GPU, time) of {board.doing} in units of {board.unit}, "
        "which is timed around each cell in the same process; the median over seeds",
        *_ranges(board),
        *(["‡ running it again gave something else, see below"] if _doubted(board) else []),
    ]


def said_of(found: Verified) -> str:
    """What came of running cells of a row again."""
    by = {"ci": "CI", "another": "another"}.get(found.by, found.by)
    again = found.same + found.close
    parts = [f"{found.same} with the same bits"] if found.same else []
    parts += [f"{found.close} within the tolerance"] if found.close else []
    told = f"{found.recipe}: reproduced by {by} on {again} of {found.cells} cells"
    told += f" ({', '.join(parts)})" if parts else ""
    if found.different:
        told += f"; NOT REPRODUCED on {len(found.different)}: {'; '.join(found.different)}"
    return told


def _doubted(board: Leaderboard) -> set[str]:
    """The recipes of which running a cell again gave something else."""
    return {one.recipe for one in board.verified if one.different}


def _which(seeds: Sequence[int]) -> list[str]:
    """Which seeds a board holds, where these are not the first ones."""
    if list(seeds) == list(range(len(seeds))):
        return []
    return [f"- The board holds seeds {spans(seeds)}."]


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


def _explained(board: Leaderboard, measures: Sequence[Measure]) -> list[str]:
    """What measures are, and why no row has some."""
    finished = any(row.seeds for row in board.rows)
    said = []
    for one in measures:
        nowhere = all(row.measures[one.name].mean is None for row in board.rows)
        said += [one.explanation, one.empty if finished and nowhere else ""]
    return list(dict.fromkeys(filter(None, said)))


def _of_seeds(row: Row) -> str:
    """How many seeds a row has, where that is not as many as the others."""
    if row.missing_seeds and row.seeds:
        return f" ({row.board_seeds - row.missing_seeds} of {row.board_seeds} seeds)"
    return f" ({row.seeds} seeds)" if row.seeds > row.board_seeds else ""


def _short(board: Leaderboard) -> list[str]:
    if not any(row.missing_seeds and row.seeds for row in board.rows):
        return []
    return [
        "a row that lacks seeds of most others, or ended badly on one that another finished, has "
        "no rank and stands below"
    ]


def _ranges(board: Leaderboard) -> list[str]:
    """What brackets at a cost are, where there are any."""
    if not any("(" in cost_cell(row.cost) for row in board.rows):
        return []
    return [f"in brackets the range over seeds, where the ends differ by a factor of {UNLIKE}"]


def _typically(measure: Measure) -> str:
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
    said = legend(*table.before, *_explained(board, shown), *table.after)
    return [table_of(["recipe", *_called(shown)], cells), said]


def _contrasts(board: Leaderboard, ranking: Measure) -> list[str]:
    """What the protocol declares to be told apart, whatever it is."""
    if not board.contrasts:
        return []
    return [
        legend(
            "Differences that the protocol declares, each judged by its own 95 % interval; with "
            "many of them, some will be called a gain or a loss by chance"
        ),
        "\n".join(
            f"- {code(one.first)} over {code(one.second)}: {outcome_of(ranking, one)}"
            for one in board.contrasts
        ),
    ]


def outcome_of(ranking: Measure, contrast: Contrast) -> str:
    """What a difference that the protocol declares is, and whether it is a gain."""
    gap = contrast.difference
    said = measured(ranking, gap, sign="+")
    if not contrast.told or gap.low is None or gap.high is None or contrast.error is None:
        return f"{said}, of too few seeds to tell"
    said += f" (standard error {ranking.written(contrast.error)})"
    if contrast.recovered is not None:
        said += f", {100 * contrast.recovered:.0f} % of what imbalance costs the latter"
    ends = ranking.sign * gap.low, ranking.sign * gap.high
    if min(ends) > 0:
        return f"{said}, a gain"
    return f"{said}, {'a loss' if max(ends) < 0 else 'no difference shown'}"


def agnostic(table: Agnostic) -> str:
    """Accuracy on test splits with a tail of their own, in percent."""
    short = [f"{name[0].upper()}{name.partition('-')[2]}" for name in SPLITS]
    rows = [
        [
            code(row.recipe),
            str(row.seeds),
            *(percent(row.accuracy[name], bounds=False) for name in SPLITS),
        ]
        for row in table.rows
    ]
    blocks = [
        f"# {table.protocol}, test-agnostic",
        table_of(["recipe", "seeds", *short], rows),
        legend(
            "Accuracy in percent on test splits with a tail of their own, from stored "
            "predictions, mean over seeds; F50: the classes with most training rows also have "
            "most test rows, 50 times those of the last; U: uniform; B: the other way round "
            "(arXiv:2107.09249)",
            "a method that uses test inputs stands here as it is before it does",
            "rows that lack seeds of most others come last",
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
            "rows that lack seeds of most others come last",
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


def _submitted(board: Leaderboard, ranking: Measure) -> list[str]:
    """Rows that others submitted; those with more than the protocol gives are ranked apart."""
    blocks = []
    for apart in (True, False):
        rows = [row for row in board.rows if row.submission is not None and row.apart == apart]
        if not rows:
            continue
        cells = []
        for row in rows:
            told = row.submission
            assert told is not None
            used = told.resources
            words = [used.extra_data, used.pretraining, used.teachers, str(used.tuning_trials)]
            cells.append(
                [
                    _rank(row),
                    recipe_cell(row.recipe, row.notes),
                    measured(ranking, row.measures[ranking.name]),
                    measured(ranking, row.delta, sign="+"),
                    *map(plain, [*words, told.who, told.paper]),
                ]
            )
        head = ["rank", "recipe", ranking.called, f"over {board.reference}"]
        head += ["extra data", "pre-training", "teachers", "trials", "by", "paper"]
        blocks.append("Made with more than the protocol gives:" if apart else "Submitted:")
        blocks.append(table_of(head, cells))
    if blocks:
        blocks.append(
            legend(
                "Rows that others made and submitted, with what they declare; *trials*: settings "
                "that were tried before",
                "those with extra data, pre-training or teachers are ranked among themselves",
            )
        )
    return blocks


def _order(board: Leaderboard) -> str:
    """How far the rows stand as others published it."""
    if board.order is None:
        return ""
    found = board.order
    return legend(
        f"Spearman's correlation of these means with the accuracies published for {found.problem}, "
        f"of {found.methods} recipes, the mean over sources for each: {found.correlation:.2f}, "
        f"{found.low:.2f} to {found.high:.2f} by the 95 % bootstrap over recipes"
    )


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
