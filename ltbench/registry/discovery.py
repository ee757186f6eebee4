"""Finds plugins: what is installed under the entry-point group, and single files."""

import ast
import hashlib
import inspect
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import util
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType, NoneType
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ltbench.errors import LTBenchError
from ltbench.registry import code
from ltbench.registry.cache import remembered
from ltbench.texts import readable

if TYPE_CHECKING:
    from importlib.metadata import Distribution

    from ltbench.results.records import Origin

GROUP = "ltbench"
REGISTERS = "register_methods"
CORE = "ltbench."
FILE = "ltbench_file_"  # how the modules of single files begin
TELLING = (
    *("ltbench.results.", "ltbench.scoring.measures.", "ltbench.scoring.statistics."),
    *("ltbench.contract.spaces.", "ltbench.contract.track.", "ltbench.errors."),
    *("ltbench.texts.", "ltbench.validation."),
    *("ltbench.datasets.", "ltbench.protocols.schema.", "ltbench.training.events."),
    *("ltbench.registry.", "ltbench.testing.", "ltbench.rendering.", "ltbench.contract.observer."),
)
"""What cells import and no number hangs on; data and protocols have hashes of their own."""
BESIDE_A_TRACK = re.compile(
    r"ltbench\.tracks(\.\w+)?\.(checks|marked|declaration|comparison|markdown|overview|reading)"
)
"""What of a track is not run in a cell: how its methods are checked, and its boards."""

SECTION = re.compile(r"\[(?P<name>[^\]]*)\]")
VALUE = re.compile(r"[\w.]+\s*(:\s*[\w.]+)?\s*(\[.*\])?")


@dataclass(frozen=True)
class Outline:
    """What a method says of itself in its source, read without importing it."""

    name: str
    reference: str
    summary: str


@dataclass(frozen=True)
class Plugin:
    """A module that may hold hooks; `file` is None where its source cannot be found.

    `module` is its name, empty for a single file; `text` the source of what has no file.
    """

    name: str
    package: str
    version: str
    file: Path | None
    load: Callable[[], Any] = field(repr=False)
    built_in: bool = False
    module: str = ""
    text: str = field(default="", repr=False)

    @cached_property
    def source(self) -> str:
        return self.text or (text_of(self.file) if self.file is not None else "")

    @property
    def family(self) -> str:
        """The folder that what is shipped stands in; of anything else the package it is of."""
        between = self.module.split(".")[1:-1]
        return between[0] if self.built_in and between else self.package

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

    @property
    def files(self) -> list[Path]:
        """Its file, and those of its own package that it imports, or these do."""
        own = [] if self.file is None else [self.file]
        return [*own, *self._imported]

    @property
    def imported_sources(self) -> list[str]:
        """What the files of its own package say that it imports, or these do."""
        return [*self._imported.values()]

    @cached_property
    def _imported(self) -> dict[Path, str]:
        sources: dict[Path | None, str] = {self.file: self.source}
        left = [(self.module, self.file)]
        while left:
            module, file = left.pop()
            for name, found in self._own(sources[file], module, file):
                if found is not None and found not in sources:
                    sources[found] = text_of(found)
                    left.append((name, found))
        return {file: text for file, text in sources.items() if file not in (None, self.file)}

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


def text_of(file: Path) -> str:
    """The source in a file, in the encoding that it states; empty where it cannot be read."""
    try:
        content = file.read_bytes()
    except OSError:
        return ""
    try:
        return util.decode_source(content)
    except (SyntaxError, UnicodeDecodeError, LookupError):
        return content.decode("utf-8", "replace")  # Python does not read it either


def outlines(source: str) -> list[Outline] | None:
    """The methods that a module registers; None where plain reading does not tell them all.

    It tells them where `register_methods` hands over classes of the same file, one after the other,
    whose names are written down as texts.
    """
    if REGISTERS not in source and "import *" not in source:
        return []
    try:
        body = ast.parse(source).body
    except code.UNREAD:
        return []  # nor can it be imported
    classes: dict[str, Texts] = {}
    registered: list[str] | None = None
    for node in body:
        if isinstance(node, ast.ClassDef):
            classes[node.name] = _class_texts(node, classes)
        elif isinstance(node, ast.FunctionDef) and node.name == REGISTERS:
            registered = _handed_over(node) if node.decorator_list else []
        elif any(_name(target) in (*classes, REGISTERS) for target in _targets(node)):
            return None  # one of them is changed after all
    told = [classes.get(name, {}) for name in registered or ()]
    if registered is None or any(text.get("name") is None for text in told):
        return None
    keys = ("name", "reference", "summary")
    return [Outline(*(text.get(key) or "" for key in keys)) for text in told]


Texts = dict[str, str | None]
"""What a class says by its attributes; None for what is no text that stands there."""

PLAIN = ast.Assign | ast.AnnAssign | ast.FunctionDef | ast.AsyncFunctionDef | ast.Expr | ast.Pass


def _class_texts(node: ast.ClassDef, classes: Mapping[str, Texts]) -> Texts:
    texts: Texts = {}
    for base in reversed(node.bases):
        texts |= classes.get(_name(base), {})
    texts["summary"] = (ast.get_docstring(node) or "").partition("\n")[0]
    for line in node.body:
        value = getattr(line, "value", None)
        told = value.value if isinstance(value, ast.Constant) else None
        for target in _targets(line) if value is not None else ():
            texts[_name(target)] = told if isinstance(told, str) else None
    if node.decorator_list or node.keywords or not all(isinstance(n, PLAIN) for n in node.body):
        texts["name"] = None
    return texts


def _name(node: ast.expr) -> str:
    """The name that an expression is, or begins with."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _targets(node: ast.stmt) -> list[ast.expr]:
    """What a statement assigns to."""
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, ast.AnnAssign) else []


def _handed_over(function: ast.FunctionDef) -> list[str] | None:
    """The names of the classes that a hook registers, if it does nothing else."""
    given = [argument.arg for argument in function.args.args]
    names = []
    for line in function.body:
        match line:
            case ast.Expr(value=ast.Constant(value=str())):
                continue
            case ast.Expr(
                value=ast.Call(func=ast.Name(id=called), args=[ast.Name(id=name)], keywords=[])
            ) if [called] == given:
                names.append(name)
            case _:
                return None
    return names


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


class Installed(Struct, frozen=True):
    """An entry point of an installed package, and the file of its module, if it can be found."""

    name: str
    value: str
    package: str
    version: str
    file: str | None

    def load(self) -> Any:
        from importlib.metadata import EntryPoint

        if not VALUE.fullmatch(self.value):
            raise LTBenchError(f"its entry point {self.value!r} is malformed; it names a module")
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
    """What packages bring; one that is damaged costs the others nothing."""
    from importlib import metadata

    found, seen = [], set()
    for package in metadata.distributions():
        told = _entry_points(package)
        if told:
            name, version = _told(package)
            if name == "unknown" or name not in seen:  # of two, the one that Python finds first
                found += [_point(point, value, name, version) for point, value in told]
            seen.add(name)
    return found


def _point(name: str, value: str, package: str, version: str) -> Installed:
    file = _origin(value.partition(":")[0].strip()) if VALUE.fullmatch(value) else None
    return Installed(name, value, package, version, str(file) if file else None)


def _entry_points(package: "Distribution") -> list[tuple[str, str]]:
    """The entry points of our group, each a name and what it says, whatever others look like."""
    try:
        text = package.read_text("entry_points.txt") or ""
    # What stands in a stranger's folder may not be a file, nor a text.
    except Exception:
        return []
    found, section = [], ""
    for line in map(str.strip, text.splitlines()):
        if match := SECTION.fullmatch(line):
            section = match["name"].strip()
        elif section == GROUP and line and line[0] not in "#;":
            name, _, value = line.partition("=")
            found.append((name.strip(), value.strip()))
    return found


def _are_there(points: Sequence[Installed]) -> bool:
    return all(point.file is not None and os.path.isfile(point.file) for point in points)


def _told(package: "Distribution") -> tuple[str, str]:
    """Its name and version, which take a while to read."""
    try:
        return str(package.metadata["Name"] or "unknown"), str(package.version or "0")
    # Metadata that somebody damaged may raise anything.
    except Exception:
        return "unknown", "0"


def _origin(module: str) -> Path | None:
    """The file of a module, found without importing it or the packages around it.

    That of a single file is known once it is loaded.
    """
    if module.startswith(FILE):
        return Path(getattr(sys.modules.get(module), "__file__", None) or module)
    spec = _spec(module)
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def _spec(module: str) -> ModuleSpec | None:
    package = module.rpartition(".")[0]
    places = _places(package) if package else None
    if package and places is None:
        return None
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(module, places)
        # A stranger's finder may raise anything at all.
        except Exception:
            continue
        if spec is not None:
            return spec
    return None


@cache
def _places(package: str) -> tuple[str, ...] | None:
    """Where the modules of a package stand."""
    spec = _spec(package)
    try:
        return tuple(spec.submodule_search_locations or ()) or None if spec is not None else None
    except Exception:  # the path of a namespace is asked of its parent, which may not be imported
        return None


@cache
def core_code(modules: tuple[str, ...]) -> str:
    """A digest of what modules say, and all that these import of ltbench or of their own package.

    Mending a sentence leaves it as it was, and so does what only tells of a cell or is told in its
    record by a hash of its own. Empty for no modules.
    """
    return code.digest_of(core_files(modules).values())


def core_files(modules: Sequence[str]) -> dict[Path, str]:
    """The files that `core_code` is of, with their sources."""
    texts: dict[Path, str] = {}
    left = list(modules)
    while left:
        module = left.pop()
        file = _origin(module)
        if file is None or file in texts or f"{module}.".startswith(TELLING):
            continue
        if BESIDE_A_TRACK.fullmatch(module):
            continue
        texts[file] = _text(file)
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        own = f"{package.partition('.')[0]}."
        left += [name for name in _named(texts[file], package) if name.startswith((own, CORE))]
    return texts


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def from_file(file: Path) -> Plugin:
    """The plugin that a single file is.

    Raises:
        LTBenchError: there is no such file.
    """
    file = Path(os.path.expanduser(file))
    if not file.is_file():
        raise LTBenchError(f"plugin file {readable(str(file))} does not exist")

    def load() -> ModuleType:
        name = module_of_file(file)
        spec = util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise LTBenchError("it is not a Python file")
        module = util.module_from_spec(spec)
        sys.modules[name] = module  # so that its classes can be pickled
        spec.loader.exec_module(module)
        return module

    return Plugin(readable(file.stem), "file", "0", file, load)


def module_of_file(file: Path) -> str:
    """What the module of a single file is called."""
    return f"{FILE}{hashlib.sha256(os.fsencode(file.resolve())).hexdigest()[:8]}"


def from_class(cls: type) -> Plugin:
    """The plugin that a class is which was handed over as an object, with what it inherits from."""
    ours = ("abc", "builtins", "ltbench", "torch", "typing")
    own = [one for one in cls.__mro__ if one.__module__.partition(".")[0] not in ours]
    text = "\n".join(map(_source_of, own))
    return Plugin(cls.__qualname__, "object", "0", None, lambda: None, text=text)


def _source_of(cls: type) -> str:
    """The source of a class; where there is none, as in a prompt, what it was compiled to."""
    try:
        return textwrap.dedent(inspect.getsource(cls))
    except (OSError, TypeError):
        held = {
            k: v for k, v in vars(cls).items() if k not in ("__doc__", "__dict__", "__weakref__")
        }
        return repr([(name, _compiled(value)) for name, value in sorted(held.items())])


def _compiled(value: Any) -> Any:
    """What decides what a function does, or a value, whatever the line and file it stands in."""
    value = getattr(value, "__func__", getattr(value, "fget", value))
    code = getattr(value, "__code__", value)
    if not isinstance(code, CodeType):
        return value if isinstance(value, str | int | float | bytes | NoneType) else type(value)
    parts = code.co_code, code.co_names, code.co_varnames, tuple(map(_compiled, code.co_consts))
    return (*parts, getattr(value, "__defaults__", None))
