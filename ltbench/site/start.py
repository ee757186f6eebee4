"""What should I use: how every recipe does across boards, without one number for all of them."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from ltbench.rendering.cells import DASH
from ltbench.rendering.overview import Entry, Overview
from ltbench.site.boards import SIGNS
from ltbench.site.drawn.marks import SAID
from ltbench.site.grids import Cell, Column, Grid, Line
from ltbench.texts import visible

ENOUGH = 3  # boards, below which a row says that it rests on few
BALANCED = 1.5  # the factor below which a board is none of imbalance
FACTORS = ((50.0, "imbalance factor below 50"), (float("inf"), "imbalance factor of 50 and more"))
CLASSES = ((10, "up to ten classes"), (100, "11 to 100 classes"), (10**9, "more than 100 classes"))


@dataclass(frozen=True)
class Group:
    """Boards that have something in common, and the recipes on them."""

    name: str
    title: str
    said: str
    grid: Grid


def groups(boards: Sequence[Overview], families: dict[str, list[str]]) -> list[Group]:
    """All boards, then those of each kind of problem, of a band of factors, of a band of sizes."""
    skewed = [board for board in boards if board.factor >= BALANCED]
    made = [_group("all", "All boards", skewed, families, least=2)]
    for track in sorted({board.track for board in skewed}):
        of_track = [board for board in skewed if board.track == track]
        made.append(_group(track, f"Kind: {track}", of_track, families))
    made += _bands("factor", FACTORS, skewed, families, lambda board: board.factor, strict=True)
    made += _bands("classes", CLASSES, skewed, families, lambda board: board.classes)
    return [group for group in made if group is not None]


def _bands(
    name: str,
    bands: Sequence[tuple[float, str]],
    boards: Sequence[Overview],
    families: dict[str, list[str]],
    size: Callable[[Overview], float],
    strict: bool = False,
) -> list[Group | None]:
    found, start = [], 0.0
    for n, (end, title) in enumerate(bands):
        own = [b for b in boards if start <= size(b) < end or (not strict and size(b) == end)]
        own = own if strict else [b for b in boards if start < size(b) <= end]
        found.append(_group(f"{name}-{n}", title[0].upper() + title[1:], own, families, least=2))
        start = end
    return found


def _group(
    name: str,
    title: str,
    boards: Sequence[Overview],
    families: dict[str, list[str]],
    least: int = 1,
) -> Group | None:
    standing: dict[str, list[tuple[Overview, Entry]]] = defaultdict(list)
    for board in boards:
        for entry in board.entries:
            told = entry.gain is not None and entry.gain.mean is not None
            if told and not entry.control:
                standing[entry.recipe].append((board, entry))
    lines = [
        _line(recipe, own, families.get(recipe, []))
        for recipe, own in standing.items()
        if len(own) >= min(least, len(boards))
    ]
    if not lines:
        return None
    lines.sort(key=_place)
    count = len(boards)
    of_several = " Recipes that stand on one of them alone are left out." if least > 1 else ""
    references = ", ".join(sorted({board.reference for board in boards}))
    said = (
        f"{count} board{'s' if count > 1 else ''}, each against its own reference "
        f"({references}).{of_several}"
    )
    if count < ENOUGH:
        said += f" Fewer than {ENOUGH} boards: take it as a hint."
    columns = [
        Column("recipe", "recipe", number=False, code=True),
        Column("boards", "boards", "on which it stands"),
        Column("better", "better", "its interval lies above zero"),
        Column("same", "not told apart", "its interval holds zero, or there is none"),
        Column("worse", "worse", "its interval lies below zero"),
        Column("gain", "median gain", "over the boards' references, in points of what ranks there"),
        Column("cost", "median cost", "in units of each board's plain training"),
        Column("each", "board by board", "▲ better ▼ worse ○ not told apart", number=True),
    ]
    every = sorted({family for line in lines for family in line.told["family"].split()})
    return Group(name, title, said, Grid(name, title, columns, lines, {"family": every}))


def _line(recipe: str, own: Sequence[tuple[Overview, Entry]], families: Sequence[str]) -> Line:
    verdicts = [entry.verdict for _, entry in own]
    better, worse = verdicts.count("better"), verdicts.count("worse")
    same = len(own) - better - worse
    gains = [
        entry.gain.mean
        for board, entry in own
        if entry.gain and entry.gain.mean is not None and board.ranking.unit == "%"
    ]
    costs = [entry.cost.relative for _, entry in own if entry.cost.relative is not None]
    gain, cost = (median(some) if some else None for some in (gains, costs))
    few = len(own) < ENOUGH
    order = -(better - worse) / (len(own) + 1) - 0.001 * (gain or 0)
    marks = [
        (
            SIGNS[entry.verdict],
            f"{board.protocol}: {SAID[entry.verdict]}"
            + (f", {board.ranking.written(entry.gain.mean, '+')}" if _told(entry) else ""),  # type: ignore[union-attr, arg-type]
            f"boards/{board.protocol}.html",
            entry.verdict,
        )
        for board, entry in own
    ]
    return Line(
        [
            Cell(recipe),
            Cell(
                f"{len(own)}{' – few' if few else ''}",
                float(len(own)),
                style="few" if few else "",
                said=f"rests on fewer than {ENOUGH} boards" if few else "",
            ),
            Cell(str(better), float(better)),
            Cell(str(same), float(same)),
            Cell(str(worse), float(worse)),
            Cell(DASH if gain is None else f"{100 * gain:+.1f}".replace("-", "−"), gain),
            Cell(DASH if cost is None else f"{cost:.2g}x", cost),
            Cell("", order, marks=marks),
        ],
        {"family": " ".join(families)},
        visible(recipe),
    )


def _place(line: Line) -> tuple[bool, float]:
    """What rests on few boards comes last."""
    count, order = line.cells[1].key, line.cells[-1].key
    assert isinstance(count, float) and isinstance(order, float)
    return count < ENOUGH, order


def _told(entry: Entry) -> bool:
    return entry.gain is not None and entry.gain.mean is not None
