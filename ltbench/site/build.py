"""The site as files: every page of the boards that can be read, and what it says of the others."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltbench.boards.overviews import overview_of
from ltbench.boards.published import Quoted, quoted
from ltbench.boards.tuned import TunedBoard, was_tuned
from ltbench.boards.tuned import read as tuned_of
from ltbench.contract.track import Track
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.registry.registry import Registry
from ltbench.rendering.cells import DASH, measured
from ltbench.rendering.overview import Overview
from ltbench.results.records import Record, Rejected, arrays_of
from ltbench.site import boards as board_pages
from ltbench.site import start, things
from ltbench.site.compare import index, pairs
from ltbench.site.grids import numbers
from ltbench.texts import line, visible

if TYPE_CHECKING:
    from jinja2 import Environment

ASSETS = ("site.css", "site.js", "compare.js")


@dataclass(frozen=True)
class Picture:
    """A picture that a page shows, and what of."""

    place: str
    said: str
    width: int
    height: int


@dataclass
class Shelf:
    """One protocol with its board, and what its page shows beside."""

    protocol: Protocol
    board: Overview
    quoted: list[Quoted]
    rejected: list[Rejected]
    pictures: list[Picture] = field(default_factory=list)
    unseen: str = ""
    tuned: TunedBoard | None = None
    untold: str = ""


@dataclass
class Site:
    """The files of a site by their place in it, and what could not be built, by protocol."""

    files: dict[str, bytes] = field(default_factory=dict)
    torn: dict[str, str] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)


def build(
    registry: Registry,
    results: Path,
    names: Sequence[str],
    mixed: bool = False,
) -> Site:
    """The site of the boards of some protocols, of the records under `results`.

    Raises:
        LTBenchError: no board can be built.
    """
    site = Site()
    shelves: list[Shelf] = []
    once = _Once(registry)
    recipes: dict[str, list[str]] = {}
    for name in names:
        try:
            shelf, methods = _shelf(registry, once, results, name, mixed, site.files)
        except LTBenchError as error:
            site.torn[name] = str(error)
            continue
        recipes |= methods
        shelves.append(shelf)
        site.rejected += shelf.rejected
    if not shelves:
        raise LTBenchError("\n".join(dict.fromkeys(site.torn.values())))
    _pages(site, registry, shelves, recipes)
    return site


class _Once:
    """Data for pictures: each set is read once, however many boards are of it."""

    def __init__(self, registry: Registry) -> None:
        self.registry, self.data = registry, registry.data
        self.read: dict[tuple[Any, ...], Any] = {}

    def dataset(self, name: str) -> Callable[..., Any]:
        def load(*given: Any) -> Any:
            if (name, *given) not in self.read:
                self.read[(name, *given)] = self.registry.dataset(name)(*given)
            return self.read[(name, *given)]

        return load

    def datasets_of_plugins(self) -> list[str]:
        return self.registry.datasets_of_plugins()


def _shelf(
    registry: Registry,
    once: _Once,
    results: Path,
    name: str,
    mixed: bool,
    made: dict[str, bytes],
) -> tuple[Shelf, dict[str, list[str]]]:
    """The board of a protocol, and the methods of each of its recipes."""
    board, rejected, records = overview_of(registry, name, results, mixed, rows=True)
    protocol = registry.protocol(name)
    shelf = Shelf(protocol, board, quoted(registry, protocol), rejected)
    if was_tuned(results, protocol.name):
        try:
            shelf.tuned = tuned_of(registry, protocol, results, mixed)
        except LTBenchError as error:
            shelf.untold = line(error)
    _draw(registry, once, shelf, results, records, made)
    return shelf, {one.recipe: list(one.parameters) for one in records}


def _draw(
    registry: Registry,
    once: _Once,
    shelf: Shelf,
    results: Path,
    records: Sequence[Record],
    made: dict[str, bytes],
) -> None:
    """The pictures of what cells made, one of each recipe, where the track draws such."""
    track = registry.track(shelf.protocol.track)
    if type(track).picture is Track.picture:
        return
    first: dict[str, Record] = {}
    for record in sorted(records, key=lambda one: one.seed):
        if record.arrays and record.recipe in {one.recipe for one in shelf.board.entries}:
            first.setdefault(record.recipe, record)
    try:
        sources = track.load(once, shelf.protocol)
        for n, entry in enumerate(shelf.board.entries):
            if entry.recipe not in first:
                continue
            record = first[entry.recipe]
            image = track.picture(shelf.protocol, record, arrays_of(results, record), sources)
            if image is None:
                continue
            if image.mode == "RGB" and all(band == image.getchannel(0) for band in image.split()):
                image = image.getchannel(0)
            content = BytesIO()
            image.save(content, "PNG", optimize=True)
            place = f"pictures/{shelf.protocol.name}-{n}.png"
            made[place] = content.getvalue()
            said = f"{visible(entry.recipe)}, seed {record.seed}"
            shelf.pictures.append(Picture(place, said, image.width, image.height))
    except LTBenchError as error:
        shelf.unseen = line(error)


def _pages(
    site: Site, registry: Registry, shelves: Sequence[Shelf], recipes: Mapping[str, list[str]]
) -> None:
    boards = [shelf.board for shelf in shelves]
    kinds = [things.method(registry, kind) for kind in registry.methods().values()]
    of_method = {one.name: one.family for one in kinds}
    families = {
        recipe: sorted({of_method.get(name, "unknown") for name in names})
        for recipe, names in recipes.items()
    }
    environment = _environment()
    write = _Writer(site.files, environment, {"version": version("ltbench")})
    on_boards = {board.protocol: board for board in boards}
    fixed = [
        things.protocol(registry, name, on_boards.get(name), given)
        for name, given in _protocols(registry, shelves)
    ]
    counted: dict[str, set[str]] = defaultdict(set)
    for board in boards:
        for entry in board.entries:
            for name in recipes.get(entry.recipe, ()):
                counted[name].add(board.protocol)
    write(
        "index.html",
        "start.html",
        "What should I use?",
        groups=start.groups(boards, families),
        shelves=shelves,
        torn=site.torn,
    )
    for shelf in shelves:
        write(
            f"boards/{shelf.protocol.name}.html",
            "board.html",
            shelf.protocol.name,
            shelf=shelf,
            board=shelf.board,
            grid=board_pages.ranked(shelf.board, families),
            figures=board_pages.drawn(shelf.board),
            tuned=None if shelf.tuned is None else board_pages.tuned(shelf.tuned),
            published=_published(shelf),
        )
        site.files[f"assets/board-{shelf.protocol.name}.js"] = pairs(shelf.board)
    for told in kinds:
        write(
            f"methods/{told.name}.html",
            "method.html",
            told.name,
            method=told,
            grid=things.standing(boards, recipes, told.name),
        )
    for one in fixed:
        write(f"protocols/{one.name}.html", "protocol.html", one.name, fixed=one)
    count = {name: len(own) for name, own in counted.items()}
    write("methods.html", "list.html", "Methods", grid=things.listing(kinds, count))
    write("protocols.html", "list.html", "Protocols", grid=things.problems(fixed))
    write("compare.html", "compare.html", "Compare two recipes")
    site.files["assets/boards.js"] = index(boards)
    for asset in ASSETS:
        site.files[f"assets/{asset}"] = (files(__package__) / "assets" / asset).read_bytes()


def _protocols(registry: Registry, shelves: Sequence[Shelf]) -> list[tuple[str, Protocol]]:
    """Those of the registry that can be read, and those of the boards."""
    every = {shelf.protocol.name: shelf.protocol for shelf in shelves}
    for name in registry.protocols():
        if name not in every:
            try:
                every[name] = registry.protocol(name)
            except LTBenchError:  # what is wrong with it, who asks for it is told
                continue
    return sorted(every.items())


def _published(shelf: Shelf) -> list[tuple[Quoted, Any]]:
    """Figures of others, each source with its table, beside what the same recipe reached here."""
    here = {one.recipe: one.means.get("accuracy") for one in shelf.board.entries}
    share = next((one for one in shelf.board.measures if one.name == "accuracy"), None)
    return [
        (
            source,
            numbers(
                f"published-{n}",
                source.reference,
                ["method", "accuracy as published", "measured here"],
                [
                    [
                        name,
                        " ± ".join(f"{value:.1f}" for value in told),
                        DASH if share is None else measured(share, here.get(name)),
                    ]
                    for name, told in source.accuracy.items()
                ],
            ),
        )
        for n, source in enumerate(shelf.quoted)
    ]


def required() -> None:
    """Makes sure that there is what pages are made with.

    Raises:
        LTBenchError: it is not installed.
    """
    try:
        import jinja2  # noqa: F401
    except ImportError:
        raise LTBenchError("a site needs Jinja2: pip install 'ltbench[site]'") from None


def _environment() -> "Environment":
    """Jinja's, in which every text of others is shown as text.

    Raises:
        LTBenchError: Jinja is not installed.
    """
    required()
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("ltbench.site"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "visible": visible,
        "visible_lines": visible_lines,
        "marked": marked,
        "shortened": shortened,
        "link": things.link_of,
    }
    return made


def marked(text: str) -> Any:
    """A clause of a legend: what stands in stars or backticks, and no other markup."""
    from markupsafe import Markup, escape

    told = re.sub(r"\*([^*<>&]+)\*", r"<em>\1</em>", str(escape(visible(" ".join(text.split())))))
    told = re.sub(r"`([^`<>&]+)`", r"<code>\1</code>", told)
    return Markup(told)  # noqa: S704 - escaped above


def visible_lines(text: str) -> str:
    """A text of several lines, its tabs four blanks."""
    return "\n".join(visible(one.expandtabs(4)) for one in text.split("\n"))


def shortened(text: str, most: int = 90) -> str:
    """A text that a cell has room for; the whole one is told to who points at it."""
    shown = visible(text)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


@dataclass(frozen=True)
class _Writer:
    """Renders pages into the files of a site."""

    files: dict[str, bytes]
    environment: "Environment"
    common: dict[str, Any]

    def __call__(self, place: str, template: str, title: str, **told: Any) -> None:
        root = "../" * place.count("/")
        page = self.environment.get_template(template)
        text = page.render(root=root, title=title, place=place, **self.common, **told)
        self.files[place] = text.encode()
