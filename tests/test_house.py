"""The walls of the house: which wing may import which, and where a track may be named.

Every import counts, wherever in a module it stands: within functions and for types alone as well.
"""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1] / "ltbench"
WINGS = (
    "api",
    "commands",
    "site",
    "boards",
    "running",
    "scaffolding",
    "tracks",
    "testing",
    "registry",
    "training",
    "toolbox",
    "datasets",
    "models",
    "contract",
    "augmentation",
    "protocols",
    "results",
    "rendering",
    "scoring",
    "validation",
    "errors",
    "texts",
)
"""From top to bottom; a wing imports only what stands below it."""

DOORS = ("ltbench", "ltbench.__main__")
TRACKS = sorted(path.parent.name for path in HOUSE.glob("tracks/*/track.py"))


def name_of(file):
    parts = file.relative_to(HOUSE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in sorted(HOUSE.rglob("*.py"))}


def imports(source, module, is_package=False):
    """What a source imports, each as far as it is named: `from a import b` is a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            above = module.split(".")[: (1 if is_package else 0) - node.level or None]
            base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def module_of(name):
    """The module that an imported name stands for or stands in, if it is one of ours."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def imported():
    """Every import of one of our modules by another, with what was written."""
    for module, file in MODULES.items():
        for name in imports(file.read_text(), module, file.name == "__init__.py"):
            yield module, module_of(name), name


def wing_of(module):
    return module.split(".")[1]


def track_of(module):
    """The track in whose folder a module stands, if it stands in one."""
    return next((name for name in TRACKS if f"{module}.".startswith(f"ltbench.tracks.{name}.")), "")


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import a.b", ["a.b"]),
        ("from a.b import c, d", ["a.b.c", "a.b.d"]),
        ("from . import c", ["house.wing.c"]),
        ("from ..other import c", ["house.other.c"]),
        ("def f():\n    import late", ["late"]),
        ("if TYPE_CHECKING:\n    from a import T", ["a.T"]),
    ],
)
def test_every_kind_of_import_is_read(source, found):
    assert list(imports(source, "house.wing.module")) == found


def test_imports_of_a_package_are_read_from_where_it_stands():
    assert list(imports("from .c import d", "house.wing", is_package=True)) == ["house.wing.c.d"]


def test_every_module_stands_in_a_wing():
    assert {wing_of(module) for module in MODULES if module not in DOORS} == set(WINGS)


def test_a_wing_imports_only_wings_below_it():
    wrong = [
        f"{module} imports {name}"
        for module, other, name in imported()
        if other and module not in DOORS and other not in DOORS
        if WINGS.index(wing_of(other)) < WINGS.index(wing_of(module))
    ]
    assert wrong == []


def test_no_module_imports_the_public_names():
    """Those are for others; they load their homes, which would be a circle."""
    wrong = [f"{m} imports {name}" for m, other, name in imported() if other in DOORS]
    assert wrong == []


def test_modules_import_each_other_in_no_circle():
    graph = {module: set() for module in MODULES}
    for module, other, _ in imported():
        if other:
            graph[module].add(other)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_nothing_imports_a_plugin():
    wrong = [f"{m} imports {name}" for m, _, name in imported() if "plugins" in name.split(".")[0]]
    assert wrong == []


def test_a_tracks_folder_is_imported_from_within_alone():
    wrong = [
        f"{module} imports {name}"
        for module, other, name in imported()
        if track_of(other) not in ("", track_of(module))
    ]
    assert wrong == []


@pytest.mark.parametrize("track", TRACKS)
def test_no_line_outside_of_its_folder_names_a_track(track):
    named = re.compile(rf"(?<!begin{{)(?<!end{{)\b{track}\b", re.IGNORECASE)  # LaTeX has one too
    wrong = [
        f"{file.relative_to(HOUSE.parent)}:{number}: {line.strip()}"
        for file in sorted(HOUSE.rglob("*"))
        if file.suffix in (".py", ".toml") and HOUSE / "tracks" / track not in file.parents
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if named.search(line)
    ]
    assert wrong == []
