"""Tuned rows beside default ones: what tuning changed, what it cost, and what was chosen."""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct, structs

from ltbench.contract.method import Method, values
from ltbench.contract.track import Board, Track
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.registry.registry import Registry
from ltbench.rendering.cells import (
    DASH,
    code,
    legend,
    measured,
    plain,
    resolved,
    table_of,
)
from ltbench.results import studies
from ltbench.results.reading import records_of
from ltbench.results.records import Origin, Record
from ltbench.results.studies import Study
from ltbench.running.tuning import Choice, choices, of_trials, spaces_of, tested
from ltbench.scoring.measures import Measure, figures
from ltbench.scoring.statistics import (
    Floats,
    Mean,
    Pairs,
    Resolution,
    best_first,
    means_of,
    pairs_of,
    rank_ranges,
    resolution,
    rounded,
    wanted,
)

if TYPE_CHECKING:
    import pandas

TUNED, DEFAULT = "tuned", "default"
Place = tuple[int, str]  # a seed and a table


class TunedRow(Struct, frozen=True, kw_only=True):
    """What a recipe is worth, tuned or as it is, in the measure that ranks.

    `default_rank` is that of the default among the defaults of the tuned rows. `regret` is what the
    default loses to the settings that were chosen, paired. Of `choices`, one for each seed, table
    and part of a cell, `kept` are the default; `chosen` are the values of each parameter in all of
    them. Of the `trials` for each seed, `failed` came to nothing, over all seeds. `tuning_cost` is
    the work of all trials, and `cost` that of the cell, in units of plain training; both are
    medians over seeds. A default row that was not tuned has its value alone.
    """

    recipe: str
    kind: str
    rank: tuple[int, int] | None
    value: Mean
    default: Mean | None = None
    default_rank: tuple[int, int] | None = None
    regret: Mean | None = None
    trials: int = 0
    failed: int = 0
    choices: int = 0
    kept: int = 0
    chosen: dict[str, list[Any]] = {}
    tuning_cost: float | None = None
    cost: float | None = None


class TunedBoard(Struct, frozen=True, kw_only=True):
    """The tuned rows of a protocol, best first, and with them default rows where that was asked.

    `over` says what intervals are over, seeds or tables, and `share` how much of the training rows
    a trial was validated on. `moved` are the rows whose rank among tuned rows and that of their
    default among defaults have nothing in common.
    """

    protocol: str
    version: int
    hash: str
    measure: Measure
    plain: str
    share: float
    over: str
    moved: int
    resolution: Resolution
    rows: list[TunedRow]
    remarks: list[str] = []


@dataclass
class _Cells:
    """What a row came to, by seed and table; `bad` are those where it came to nothing."""

    recipe: str
    kind: str
    value: dict[Place, float] = field(default_factory=dict)
    default: dict[Place, float] = field(default_factory=dict)
    bad: set[Place] = field(default_factory=set)
    told: dict[str, Any] = field(default_factory=dict)


def was_tuned(results: Path, protocol: str) -> bool:
    """Whether recipes of a protocol were tuned."""
    return any((studies.folder_of(results, protocol) / "studies").glob("*.json"))


def read(
    registry: Registry,
    protocol_name: str | Path | Protocol,
    results: Path,
    mixed: bool = False,
    with_default: bool = False,
) -> TunedBoard:
    """The board of tuned rows; `with_default` ranks the default rows among them.

    Raises:
        LTBenchError: nothing was tuned, plain training lacks, or records are of several codes.
    """
    protocol = registry.protocol(protocol_name)
    track, folder = registry.track(protocol.track), studies.folder_of(results, protocol.name)
    measure = track.measure(track.shown(protocol)[0])
    every = list(studies.read_all(folder))
    if not every:
        raise LTBenchError(
            f"nothing of {protocol.name} was tuned under {results}; "
            f"ltbench tune {protocol.name} -m RECIPE does that"
        )
    rows, used, remarks = [], [], []
    for study in every:
        cells, more = _of_study(registry, track, protocol, study, results)
        used += more
        if cells.value:
            rows.append(cells)
        remarks += cells.told.pop("remarks")
    if not any(row.recipe == track.plain for row in rows):
        raise LTBenchError(
            f"{folder} lacks tuned plain training, the floor of a tuned board; "
            f"ltbench tune {protocol.name} makes it"
        )
    if with_default:
        found, _ = records_of(protocol, results, registry.origin, mixed)
        used += found
        rows += _defaults(measure, found)
    _refuse_several(used, mixed)
    classes = max((len(record.class_counts) for record in used), default=0)
    step = track.step(protocol, measure.name, classes) or 0.0
    return _board(track, protocol, measure, rows, step, remarks)


def board(content: TunedBoard) -> Board:
    """A board of tuned rows, and how it is written."""
    return Board(content, partial(markdown, content), partial(frame, content))


def _of_study(
    registry: Registry, track: Track[Any], protocol: Protocol, study: Study, results: Path
) -> tuple[_Cells, list[Record]]:
    """The cells of the settings that a study chose, and the records that they are of."""
    folder = studies.folder_of(results, protocol.name)
    cells, used = _Cells(study.recipe, TUNED), []
    first = track.shown(protocol)[0]
    of_trials_, base = of_trials(protocol), registry.recipe(study.recipe)
    tuned = spaces_of(base)
    chosen: dict[str, list[Any]] = {name: [] for name in study.space}
    failed = kept = left = untold = 0
    dead: list[str] = []
    costs: dict[int, list[tuple[float, float, float]]] = {}
    for choice in choices(track, of_trials_, study, folder):
        failed, place = failed + choice.failed, (choice.seed, choice.table)
        if not choice.complete:
            cells.bad.add(place)
            left += None in choice.scores
            dead += [choice.reason] if None not in choice.scores else []
            continue
        usual = _tested(track, protocol, results, folder, study.recipe, choice)
        each = [_tested(track, protocol, results, folder, text, choice) for text in choice.chosen]
        whole = [one for one in each if one is not None]
        joined = track.joined(whole) if len(whole) == len(each) else None
        value, default = (
            None if one is None else one.measures.get(first) for one in (joined, usual)
        )
        if usual is None or joined is None or value is None or default is None:
            cells.bad.add(place)
            untold += 1
            continue
        cells.value[place], cells.default[place] = value, default
        used += [usual, *whole]
        kept += sum(k == 0 for k in choice.best)
        for text in choice.chosen:
            for name, value in _values(registry.recipe(text), base, tuned).items():
                chosen.setdefault(name, []).append(value)
        if joined.timing is not None:
            told = choice.work, joined.timing.work, joined.timing.reference_work
            costs.setdefault(choice.seed, []).append(told)
    summed = [[sum(part) for part in zip(*of_seed, strict=True)] for of_seed in costs.values()]
    cells.told = {
        "trials": max(map(len, study.drawn.values()), default=0),
        "failed": failed,
        "choices": max((len(one) for one in chosen.values()), default=0),
        "kept": kept,
        "chosen": chosen,
        "tuning_cost": _median([trials / plainly for trials, _, plainly in summed]),
        "cost": _median([own / plainly for _, own, plainly in summed]),
        "remarks": [
            *([f"{study.recipe}: trials of {left} of its choices are left"] if left else []),
            *(
                [
                    f"{study.recipe}: no trial of {len(dead)} of its choices came to anything "
                    f"({dead[0]})"
                ]
                if dead
                else []
            ),
            *([f"{study.recipe}: {untold} of its choices have no finished cell"] if untold else []),
        ],
    }
    return cells, used


def _tested(
    track: Track[Any],
    protocol: Protocol,
    results: Path,
    folder: Path,
    recipe: str,
    choice: Choice,
) -> Record | None:
    """The cell of a setting: one made for tuning, or else of the protocol's own records."""
    of_choice = recipe, choice.seed, choice.table
    own = tested(track, protocol, folder, *of_choice)
    return own or tested(track, protocol, results, *of_choice)


def _values(recipe: Any, base: Any, tuned: Mapping[tuple[int, str], Any]) -> dict[str, Any]:
    """The value of each tuned parameter in a setting."""
    of_name: dict[str, Method] = {method.name: method for method in recipe.methods}
    found = {}
    for place, name in tuned:
        method = base.methods[place]
        found[f"{method.name}.{name}"] = values(of_name[method.name])[name]
    return found


def _defaults(measure: Measure, found: Sequence[Record]) -> list[_Cells]:
    rows: dict[str, _Cells] = {}
    for record in found:
        value = record.measures.get(measure.name)
        if record.status == "ok" and not record.control and value is not None:
            row = rows.setdefault(record.recipe, _Cells(record.recipe, DEFAULT))
            row.value[record.seed, record.table] = value
    return [rows[name] for name in sorted(rows)]


def _refuse_several(used: Sequence[Record], mixed: bool) -> None:
    """Refuses records of several codes of the benchmark, or devices."""
    for name, said in (("code", "ltbench's own code"), ("device", "device")):
        told = {str(one.environment[name]) for one in used if one.environment.get(name)}
        if len(told) > 1 and not mixed:
            raise LTBenchError(
                f"tuned rows differ in {said} ({' and '.join(sorted(told))}): tune again with "
                "--fresh, or say --mixed"
            )
    pairs = combinations({pair for one in used for pair in one.plugins.items()}, 2)
    several = sorted({one[0] for one, other in pairs if one[0] == other[0] and _unlike(one, other)})
    if several and not mixed:
        raise LTBenchError(
            f"tuned rows differ in the code of {', '.join(several)}: tune again, or say --mixed"
        )


def _ranks(pairs: Pairs) -> list[tuple[int, int] | None]:
    """The best and the worst rank of each row, None of one without."""
    ends = zip(*(one.tolist() for one in rank_ranges(pairs)), strict=True)
    return [pair if there else None for pair, there in zip(ends, pairs.scored, strict=True)]


def _unlike(one: tuple[str, Origin], other: tuple[str, Origin]) -> bool:
    """Whether two origins of a method are of other code, as far as both tell."""
    return not (one[1].made_by(other[1]) or other[1].made_by(one[1]))


def _board(
    track: Track[Any],
    protocol: Protocol,
    measure: Measure,
    rows: Sequence[_Cells],
    step: float,
    remarks: list[str],
) -> TunedBoard:
    """The rows in order, with their intervals and ranks."""
    tuned = [row for row in rows if row.kind == TUNED]
    places = sorted({place for row in tuned for place in (*row.value, *row.bad)})
    over = "tables" if len(_tables(places)) > 1 else "seeds"
    shared, step = (track.shared, step) if over == "seeds" else (0.0, 0.0)
    value, default = (
        _grid([[told.get(place, math.nan) for place in places] for told in of_rows], places, over)
        for of_rows in ([row.value for row in rows], [row.default for row in rows])
    )
    bad = _grid([[float(place in row.bad) for place in places] for row in rows], places, over) > 0
    floor = next(k for k, row in enumerate(rows) if row.recipe == track.plain)
    finished = np.isfinite(value)
    short = np.asarray((wanted(finished, bad, floor) & ~finished).any(axis=1))
    # seeds of one table share its rows, of which tests of pairs know nothing
    ranked = np.where(short[:, None] | (shared > 0), np.nan, measure.sign * value)
    pairs = pairs_of(ranked, step)
    ranks = _ranks(pairs)
    of_tuned = np.array([row.kind == TUNED for row in rows])
    among_tuned = pairs_of(np.where(of_tuned[:, None], ranked, np.nan), step)
    lone = np.where(np.isnan(ranked), np.nan, measure.sign * default)
    before = _ranks(pairs_of(lone, step))
    means = means_of(value, measure.limits, shared=shared)
    usual = means_of(default, measure.limits, shared=shared)
    regrets = means_of(measure.sign * (value - default), measure.gaps, step, shared)
    return TunedBoard(
        protocol=protocol.name,
        version=protocol.version,
        hash=protocol.hash,
        measure=measure,
        plain=track.plain,
        share=protocol.tuning_share,
        over=over,
        moved=sum(
            one is not None and other is not None and (one[1] < other[0] or other[1] < one[0])
            for one, other in zip(_ranks(among_tuned), before, strict=True)
        ),
        resolution=resolution(pairs.n, pairs.spread, pairs.adjusted, shared),
        rows=[
            TunedRow(
                recipe=rows[k].recipe,
                kind=rows[k].kind,
                rank=ranks[k],
                value=means[k],
                default=usual[k] if usual[k].mean is not None else None,
                default_rank=before[k],
                regret=regrets[k] if regrets[k].mean is not None else None,
                **rows[k].told,
            )
            for k in best_first(measure.sign * value, short)
        ],
        remarks=remarks,
    )


def _grid(rows: Sequence[Sequence[float]], places: Sequence[Place], over: str) -> Floats:
    """Numbers of rows at places, or by table as means over seeds; NaN is missing."""
    found = np.array(rows, dtype=np.float64).reshape(len(rows), len(places))
    if over == "seeds":
        return found
    of_table = [[k for k, (_, t) in enumerate(places) if t == table] for table in _tables(places)]
    return np.stack([found[:, at].mean(axis=1) for at in of_table], axis=1)


def _tables(places: Sequence[Place]) -> list[str]:
    return sorted({table for _, table in places})


def _median(numbers: Sequence[float]) -> float | None:
    return rounded(statistics.median(numbers)) if numbers else None


def markdown(board: TunedBoard) -> str:
    """The table of tuned rows, as a page of its own."""
    both = any(row.kind == DEFAULT for row in board.rows)
    head = f"# {board.protocol}, {'tuned and default' if both else 'tuned'}"
    foot = f"Protocol {board.protocol} version {board.version}, hash `{board.hash}`."
    return "\n\n".join([head, *_blocks(board, both), foot]) + "\n"


def section(board: TunedBoard) -> str:
    """The same below the table of default rows."""
    return "\n\n".join(["## Tuned", *_blocks(board, both=False)]) + "\n"


def _blocks(board: TunedBoard, both: bool) -> list[str]:
    headers, rows = sheet(board, both, code)
    notes = "\n".join(f"- {plain(remark)}." for remark in board.remarks)
    told = resolved(board.measure, board.resolution, board.over, "pairs of rows")
    said = legend(*clauses(board, both))
    return [block for block in (table_of(headers, rows), said, told, moved(board), notes) if block]


def sheet(
    board: TunedBoard, both: bool = False, name: Callable[[str], str] = str
) -> tuple[list[str], list[list[str]]]:
    """The headers and the cells of the table; `name` writes recipes and parameters."""
    measure = board.measure
    headers = ["rank", "recipe", *(["kind"] if both else []), f"{measure.called}, tuned"]
    headers += [DEFAULT, "its rank", "regret", "chosen", "default kept", "trials", "tuning", "cost"]
    if both:
        headers[3] = measure.called
    rows = [
        [
            _rank(row.rank),
            name(row.recipe),
            *([row.kind] if both else []),
            measured(measure, row.value),
            measured(measure, row.default),
            _rank(row.default_rank),
            measured(measure, row.regret, sign="+"),
            "; ".join(f"{name(k)} {_told(found)}" for k, found in row.chosen.items()) or DASH,
            f"{row.kept} of {row.choices}" if row.choices else DASH,
            _trials(row),
            f"{figures(row.tuning_cost)}x" if row.tuning_cost is not None else DASH,
            f"{figures(row.cost, decimals=1)}x" if row.cost is not None else DASH,
        ]
        for row in board.rows
    ]
    return headers, rows


def clauses(board: TunedBoard, both: bool = False) -> list[str]:
    """What explains the table."""
    ranked = "all rows" if both else "tuned rows alone"
    return [
        "For each seed apart, settings are drawn and tried on the seed's training rows, of which "
        f"{100 * board.share:g} % of each class are put aside and scored; the best by "
        f"{board.measure.called} there is trained on all of them and scored on the test rows",
        f"means over {board.over} with 95 % intervals; as each seed draws trials of its own, those "
        "of tuned rows hold what another draw would have chosen",
        f"*{DEFAULT}*: the recipe as it is, on the same seeds, and *its rank* among such defaults",
        "*regret*: what it loses by that, paired",
        "*chosen*: the median over seeds, and the range",
        "*default kept*: how often no trial was better",
        "*trials*: for each seed, with the default",
        "*tuning*: work of all trials of a seed in units of plain training, *cost* that of the "
        "chosen cell",
        f"*rank*: among {ranked}, as in the table of default rows",
        f"{code(board.plain)} is plain training, and what tuning of learning rate and weight decay "
        "(around other models, of their own regularization) makes of it",
    ]


def moved(board: TunedBoard) -> str:
    """How many rows changed places."""
    several = sum(row.default_rank is not None for row in board.rows)
    return (
        f"{board.moved} of {several} rows changed places beyond their intervals: the range of a\n"
        "row's rank and that of its default's do not meet."
    )


def _trials(row: TunedRow) -> str:
    if not row.trials:
        return DASH
    return f"{row.trials}" + (f" ({row.failed} failed)" if row.failed else "")


def _rank(rank: tuple[int, int] | None) -> str:
    if rank is None:
        return DASH
    best, worst = rank
    return str(best) if best == worst else f"{best}–{worst}"


def _told(found: Sequence[Any]) -> str:
    """What was chosen of a parameter."""
    numbers = [one for one in found if type(one) in (int, float)]
    if numbers and len(numbers) == len(found):
        middle, ends = statistics.median(numbers), (min(numbers), max(numbers))
        spread = f" ({ends[0]:.4g} to {ends[1]:.4g})" if ends[0] < ends[1] else ""
        return f"{middle:.4g}{spread}"
    count = Counter(map(str, found)).most_common()
    return ", ".join(f"{value} ({n})" for value, n in count)


def frame(board: TunedBoard) -> "pandas.DataFrame":
    """A row for each; intervals stand in columns that end in _low and _high."""
    import pandas

    rows = []
    for row in board.rows:
        best, worst = row.rank or (None, None)
        flat: dict[str, Any] = {"recipe": row.recipe, "kind": row.kind}
        flat |= {"rank_best": best, "rank_worst": worst}
        before = row.default_rank or (None, None)
        flat |= {"default_rank_best": before[0], "default_rank_worst": before[1]}
        for name in ("value", "default", "regret"):
            mean: Mean = getattr(row, name) or Mean(None, None, None)
            flat |= {name: mean.mean, f"{name}_low": mean.low, f"{name}_high": mean.high}
        told = structs.asdict(row)
        flat |= {name: told[name] for name in ("trials", "failed", "choices", "kept")}
        rows.append(flat | {"tuning_cost": row.tuning_cost, "cost": row.cost})
    return pandas.DataFrame(rows)
