"""Finds plugins: what is installed under the entry-point group, and single files."""

import ast
import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import util
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ltbench.errors import LTBenchError
from ltbench.registry import code
from ltbench.registry.cache import remembered

if TYPE_CHECKING:
    from importlib.metadata import Distribution

    from ltbench.results.records import Origin

GROUP = "ltbench"
CORE = "ltbench."


@dataclass(frozen=True)
class Outline:
    """What a method says of itself in its source, read without importing it."""

    name: str
    reference: str
    summary: str


@dataclass(frozen=True)
class Plugin:
    """A module that may hold hooks; `file` is None where its source cannot be found.

    `module` is its name, empty for a single file.
    """

    name: str
    package: str
    version: str
    file: Path | None
    load: Callable[[], Any] = field(repr=False)
    built_in: bool = False
    module: str = ""

    @cached_property
    def source(self) -> str:
        try:
            return self.file.read_text(encoding="utf-8") if self.file is not None else ""
        except (OSError, UnicodeDecodeError):
            return ""

    @cached_property
    def digest(self) -> str:
        """A digest of what the source says, so that a record tells which code made it."""
        return code.digest(self.source)

    @cached_property
    def imported(self) -> str:
        """A digest of the files of its own package that it imports, or these do; empty for none.

        Those of a single file are the ones beside it.
        """
        return code.digest_of(self.imported_sources)

    @cached_property
    def core(self) -> str:
        """A digest of what ltbench itself adds to its code, the contract aside; empty for none."""
        named = (name for text in (self.source, *self.imported_sources) for name in _named(text))
        return core_code(tuple(sorted({name for name in named if name.startswith(CORE)})))

    @property
    def origin(self) -> "Origin":
        """What a record tells of this code."""
        from ltbench.results.records import Origin

        return Origin(self.package, self.version, self.digest, self.imported, self.core)

    @cached_property
    def imported_sources(self) -> list[str]:
        """The files of its own package that it imports, or these do."""
        sources: dict[Path | None, str] = {self.file: self.source}
        left = [(self.module, self.file)]
        while left:
            module, file = left.pop()
            for name, found in self._own(sources[file], module, file):
                if found is not None and found not in sources:
                    sources[found] = found.read_text(encoding="utf-8", errors="replace")
                    left.append((name, found))
        del sources[self.file]
        return list(sources.values())

    def _own(
        self, source: str, module: str, file: Path | None
    ) -> Iterator[tuple[str, Path | None]]:
        """What one of its files may import from its package, or from beside a single file."""
        if self.module:
            yield from ((name, _origin(name)) for name in imports(source, module, file))
        elif self.file is not None:
            for name in _named(source):
                place = self.file.parent.joinpath(*name.split("."))
                files = place.with_suffix(".py"), place / "__init__.py"
                yield name, next((found for found in files if found.is_file()), None)


def outlines(source: str) -> list[Outline]:
    """The methods that a module's source defines, as far as plain reading tells."""
    try:
        tree = ast.parse(source)
    except code.UNREAD:
        return []
    found = []
    references: dict[str, str] = {}  # by class, as classes of one file may inherit them
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            text = dict(_text_attributes(node))
            bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
            inherited = next((references[base] for base in bases if base in references), "")
            references[node.name] = text.get("reference", inherited)
            if "name" in text:
                summary = (ast.get_docstring(node) or "").partition("\n")[0]
                found.append(Outline(text["name"], references[node.name], summary))
    return found


def imports(source: str, module: str, file: Path | None) -> Iterator[str]:
    """What a module may import from its own package, as far as plain reading tells.

    A name imported from a package may be a module of it or not.
    """
    is_package = file is not None and file.name == "__init__.py"
    package = module if is_package else module.rpartition(".")[0]
    top = f"{package.partition('.')[0]}."
    yield from (name for name in _named(source if package else "", package) if name.startswith(top))


def _named(source: str, package: str = "") -> Iterator[str]:
    """What a source may import; `package` is the one that its own dots count from."""
    try:
        tree = ast.parse(source)
    except code.UNREAD:
        return
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found = [alias.name for alias in names]
            case ast.ImportFrom(module=name, names=names, level=level):
                above = package.split(".")[: 1 - level or None] if level else []
                base = ".".join([*above, *([name] if name else [])])
                found = [base, *(f"{base}.{alias.name}" for alias in names)]
            case _:
                continue
        yield from found


def _text_attributes(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for line in node.body:
        match line:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(value))):
                yield name, value


class Installed(Struct, frozen=True):
    """An entry point of an installed package, and the file of its module, if it can be found."""

    name: str
    value: str
    package: str
    version: str
    file: str | None

    def load(self) -> Any:
        from importlib.metadata import EntryPoint

        return EntryPoint(self.name, self.value, GROUP).load()


def in_precedence(files: Sequence[Plugin], told: Sequence[str]) -> list[Plugin]:
    """Built-in plugins, then single files, then other packages by name; `told` are the stamps."""
    points = remembered("installed", told, _installed, list[Installed], _are_there)
    installed = [
        Plugin(
            point.name,
            point.package,
            point.version,
            Path(point.file) if point.file is not None else None,
            point.load,
            built_in=point.package == "ltbench",
            module=point.value.partition(":")[0].strip(),
        )
        for point in points
    ]
    own = [plugin for plugin in installed if plugin.built_in]
    others = [plugin for plugin in installed if not plugin.built_in]
    others.sort(key=lambda plugin: (plugin.package, plugin.name))
    return [*own, *files, *others]


def stamps() -> list[str]:
    """Where packages are looked for, and which are there since when; other texts mean others.

    To ask `importlib.metadata` what they bring takes over twenty times as long.
    """
    found = []
    for place in sys.path:
        found.append(place)
        try:
            names = os.listdir(place or ".")
        except OSError:  # not a folder
            continue
        for name in sorted(names):
            if name.endswith((".dist-info", ".egg-info")):
                try:
                    told = os.stat(os.path.join(place, name, "entry_points.txt"))
                    found.append(f"{name} {told.st_mtime_ns} {told.st_size}")
                except OSError:  # most have none
                    found.append(name)
    return found


def _installed() -> list[Installed]:
    from importlib import metadata

    found = []
    for point in metadata.entry_points(group=GROUP):
        package, version = _told(point.dist) if point.dist is not None else ("unknown", "0")
        file = _origin(point.module)
        found.append(
            Installed(point.name, point.value, package, version, str(file) if file else None)
        )
    return found


def _are_there(points: Sequence[Installed]) -> bool:
    return all(point.file is not None and os.path.isfile(point.file) for point in points)


@cache
def _told(package: "Distribution") -> tuple[str, str]:
    """Its name and version, which take a while to read."""
    return package.name, package.version


def _origin(module: str) -> Path | None:
    """The file of a module, found without importing it or the packages around it."""
    spec = _spec(module)
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def _spec(module: str) -> ModuleSpec | None:
    package = module.rpartition(".")[0]
    places = _places(package) if package else None
    if package and places is None:
        return None
    found = (finder.find_spec(module, places) for finder in sys.meta_path)
    return next((spec for spec in found if spec is not None), None)


@cache
def _places(package: str) -> tuple[str, ...] | None:
    """Where the modules of a package stand."""
    spec = _spec(package)
    locations = spec.submodule_search_locations if spec is not None else None
    return tuple(locations) if locations is not None else None


@cache
def core_code(modules: tuple[str, ...]) -> str:
    """A digest of what modules say, and all that these import of ltbench or of their own package.

    Mending a sentence leaves it as it was. Empty for no modules.
    """
    texts: dict[Path, str] = {}
    left = list(modules)
    while left:
        module = left.pop()
        file = _origin(module)
        if file is None or file in texts:
            continue
        texts[file] = _text(file)
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        own = f"{package.partition('.')[0]}."
        left += [name for name in _named(texts[file], package) if name.startswith((own, CORE))]
    return code.digest_of(texts.values())


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def from_file(file: Path) -> Plugin:
    if not file.is_file():
        raise LTBenchError(f"plugin file {file} does not exist")

    def load() -> ModuleType:
        name = f"ltbench_file_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]}"
        spec = util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise LTBenchError("it is not a Python file")
        module = util.module_from_spec(spec)
        sys.modules[name] = module  # so that its classes can be pickled
        spec.loader.exec_module(module)
        return module

    return Plugin(file.stem, "file", "0", file, load)
