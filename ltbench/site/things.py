"""What pages tell of methods and protocols, of the registry and of the boards they stand on."""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from ltbench import validation
from ltbench.contract.context import Phase
from ltbench.contract.method import Method, hooks
from ltbench.protocols.schema import Budget, Protocol
from ltbench.registry.families import family
from ltbench.registry.registry import Registry
from ltbench.rendering.cells import DASH, cost_cell, measured
from ltbench.rendering.figures import Bars, Curve
from ltbench.rendering.overview import Overview
from ltbench.site.boards import Shown, shown
from ltbench.site.drawn.axes import minus
from ltbench.site.grids import Cell, Column, Grid, Line
from ltbench.texts import line
from ltbench.training.engine import schedule

POINTS = 200  # of a schedule that is drawn


@dataclass(frozen=True)
class Told:
    """A method: what its source says of it."""

    name: str
    summary: str
    description: str
    reference: str
    link: str
    family: str
    hooks: Sequence[str]
    needs: Sequence[str]
    corrects: str
    roles: Sequence[str]
    takers: Sequence[str]
    parameters: Sequence[tuple[str, str, str]]
    package: str
    source: str


def family_of(registry: Registry, method: str) -> str:
    """The branch of a method, or its folder; of another package, what that is called."""
    if method not in registry.methods():
        return "unknown"
    return family(registry.owner(method), method)


def method(registry: Registry, kind: type[Method]) -> Told:
    """What a page tells of a method."""
    plugin = registry.owner(kind.name)
    own = inspect.getdoc(kind) if kind.__doc__ else ""
    module = inspect.getmodule(kind)
    above = (inspect.getdoc(module) or "") if module is not None else ""
    description = own or ""
    return Told(
        name=kind.name,
        summary=line(description).partition(". ")[0] or line(above),
        description="\n\n".join(text for text in (above, description) if text),
        reference=line(kind.reference),
        link=link_of(kind.reference),
        family=family_of(registry, kind.name),
        hooks=list(hooks(kind)),
        needs=sorted(kind.needs),
        corrects=kind.corrects or "",
        roles=list(kind.roles),
        takers=[name for name, track in registry.tracks().items() if kind.needs <= track.needs],
        parameters=[
            (name, line(schema.get("default"), repr), accepted(schema))
            for name, schema in validation.schemas(kind).items()
        ],
        package=f"{plugin.package} {plugin.version}".strip(),
        source=plugin.source,
    )


def link_of(reference: str) -> str:
    """Where a paper stands, if its reference tells; nothing else is made a link."""
    if found := re.search(r"\barXiv:(\d{4}\.\d{4,5})", reference):
        return f"https://arxiv.org/abs/{found[1]}"
    if found := re.search(r"\b(10\.\d{4,9}/[-._;()/:A-Za-z0-9]+)", reference):
        return f"https://doi.org/{found[1].rstrip('.')}"
    return ""


def accepted(schema: Mapping[str, Any]) -> str:
    """What a parameter takes, in words."""
    if "anyOf" in schema:
        return " or ".join(accepted(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(map(repr, schema["enum"]))
    kind = str(schema.get("type", "anything"))
    ends = [
        f"{sign} {schema[key]:g}"
        for key, sign in (
            ("minimum", "≥"),
            ("exclusiveMinimum", ">"),
            ("maximum", "≤"),
            ("exclusiveMaximum", "<"),
        )
        if key in schema
    ]
    return " ".join([kind, " and ".join(ends)]).strip()


def standing(boards: Sequence[Overview], names: Mapping[str, Sequence[str]], name: str) -> Grid:
    """Where a method stands, alone and in recipes; `names` are the methods of each recipe."""
    columns = [
        Column("board", "board", number=False),
        Column("recipe", "recipe", number=False, code=True),
        Column("rank", "rank"),
        Column("value", "reached", number=True),
        Column("gain", "gain", "over the board's reference"),
        Column("cost", "cost", "in units of the board's plain training"),
    ]
    lines = []
    for board in boards:
        for place, one in enumerate(board.entries):
            if name not in names.get(one.recipe, ()):
                continue
            value = one.means[board.ranking.name]
            gain = one.gain.mean if one.gain else None
            lines.append(
                Line(
                    [
                        Cell(board.protocol, link=f"boards/{board.protocol}.html"),
                        Cell(one.recipe),
                        Cell(one.rank, float(place)),
                        Cell(f"{measured(board.ranking, value)}", value.mean),
                        Cell(
                            minus(measured(board.ranking, one.gain, sign="+")),
                            gain,
                            style=one.verdict if gain is not None else "",
                        ),
                        Cell(cost_cell(one.cost), one.cost.relative),
                    ]
                )
            )
    return Grid("standing", f"Boards that {name} stands on", columns, lines)


@dataclass(frozen=True)
class Fixed:
    """A protocol: what it fixes, drawn and in words."""

    name: str
    protocol: Protocol
    toml: str
    facts: Sequence[tuple[str, str]]
    figures: Sequence[Shown]
    on_board: bool


def protocol(registry: Registry, name: str, board: Overview | None, given: Protocol) -> Fixed:
    """What a page tells of a protocol; class counts are those of its board's records."""
    place = registry.protocols().get(name)
    figures = []
    for n, (table, counts) in enumerate((board.counts if board else {}).items()):
        title = f"Rows of each class{f' of {table}' if table else ''}"
        figures.append(shown(f"counts-{n}", title, "On a scale of ratios.", Bars(counts)))
    for n, (where, budget) in enumerate(_budgets(given)):
        title = f"Learning rate of {where}"
        figures.append(shown(f"rates-{n}", title, _trained(budget), _curve(budget)))
    return Fixed(
        name,
        given,
        Path(place).read_text(encoding="utf-8") if place is not None else "",
        list(_facts(msgspec.to_builtins(given))),
        figures,
        board is not None,
    )


def _budgets(given: Protocol) -> Iterator[tuple[str, Budget]]:
    for field in structs.fields(given):
        value = getattr(given, field.name)
        if isinstance(value, Budget):
            yield field.name, value


def _trained(budget: Budget) -> str:
    return (
        f"{budget.epochs} epochs, batches of {budget.batch_size}, lr {budget.lr:g}, momentum "
        f"{budget.momentum:g}, weight decay {budget.weight_decay:g}, augmentation "
        f"{budget.augmentation}."
    )


def _curve(budget: Budget) -> Curve:
    phase = Phase(
        "main",
        budget.epochs,
        lr=budget.lr,
        weight_decay=budget.weight_decay,
        warmup=budget.warmup,
        milestones=budget.milestones,
        factors=budget.factors,
    )
    steps = max(1, POINTS // budget.epochs)
    rates = [budget.lr * factor for factor in schedule(phase, steps)]
    every = max(1, len(rates) // POINTS)
    some = list(range(0, len(rates), every))
    return Curve([n / len(rates) for n in some], [rates[n] for n in some])


TOLD = ("name", "description", "recipes", "contrasts", "track", "type")


def _facts(content: Any, above: str = "") -> Iterator[tuple[str, str]]:
    """What a protocol states, each with its dotted place."""
    for key, value in content.items():
        if not above and key in TOLD:
            continue
        if isinstance(value, dict) and value:
            yield from _facts(value, f"{above}{key}.")
        elif value not in (None, [], {}, ()):
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield f"{above}{key}", text


def listing(methods: Sequence[Told], boards: Mapping[str, int]) -> Grid:
    """All methods, with how many boards each stands on."""
    columns = [
        Column("method", "method", number=False, code=True),
        Column("family", "family", number=False),
        Column("says", "what it does", number=False),
        Column("reference", "reference", number=False),
        Column("boards", "boards"),
    ]
    lines = [
        Line(
            [
                Cell(one.name, link=f"methods/{one.name}.html"),
                Cell(one.family),
                Cell(one.summary),
                Cell(one.reference or DASH, link=one.link),
                Cell(str(boards.get(one.name, 0)), float(boards.get(one.name, 0))),
            ],
            {"family": one.family},
            one.name,
        )
        for one in methods
    ]
    families = sorted({one.family for one in methods})
    return Grid("methods", "Methods", columns, lines, {"family": families})


def problems(protocols: Sequence[Fixed]) -> Grid:
    """All protocols, and which have a board here."""
    columns = [
        Column("protocol", "protocol", number=False),
        Column("track", "kind", number=False),
        Column("says", "what it is", number=False),
        Column("recipes", "recipes"),
        Column("seeds", "seeds"),
        Column("board", "board", number=False),
    ]
    lines = [
        Line(
            [
                Cell(one.name, link=f"protocols/{one.name}.html"),
                Cell(one.protocol.track),
                Cell(one.protocol.description),
                Cell(str(len(one.protocol.recipes)), float(len(one.protocol.recipes))),
                Cell(str(one.protocol.seeds), float(one.protocol.seeds)),
                Cell(
                    "board" if one.on_board else DASH,
                    link=f"boards/{one.name}.html" if one.on_board else "",
                ),
            ],
            {"kind": one.protocol.track, "board": "yes" if one.on_board else "no"},
            one.name,
        )
        for one in protocols
    ]
    kinds = sorted({one.protocol.track for one in protocols})
    return Grid("protocols", "Protocols", columns, lines, {"kind": kinds, "board": ["yes", "no"]})
