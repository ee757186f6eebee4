"""Whether a method's file says what it said when a record was made, under other names."""

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ltbench.errors import LTBenchError
from ltbench.registry import code
from ltbench.registry.discovery import imports
from ltbench.registry.registry import Registry
from ltbench.results.records import Origin

BASES = {"Compressor": "Method"}  # a contract that was part of a larger one
ROWS = "categorical"  # was told by the run, and is by the rows


def hashed(text: str) -> str:
    """The hash of a file that records of the earlier form tell."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass
class Carrier:
    """Carries the origins of methods over; `was` holds files as they were, by their hash.

    `lost` gathers why an origin could not be carried over, by method.
    """

    registry: Registry
    was: dict[str, tuple[Path, str]] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    known: dict[tuple[str, Origin], Origin] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, registry: Registry, folders: list[Path]) -> "Carrier":
        """A carrier that knows the files below some folders, as those of an earlier version."""
        carrier = cls(registry)
        for folder in folders:
            if not folder.is_dir():
                raise LTBenchError(f"{folder} is no folder; name one with the files as they were")
            for path in sorted(folder.rglob("*.py")):
                text = path.read_text(encoding="utf-8", errors="replace")
                carrier.was[hashed(text)] = (path, text)
        return carrier

    def __call__(self, name: str, origin: Origin) -> Origin:
        """The origin as records tell it now; one that could not be carried over fits no file."""
        key = name, origin
        if key not in self.known:
            self.known[key] = self._carried(name, origin)
        return self.known[key]

    def _carried(self, name: str, origin: Origin) -> Origin:
        try:
            self.registry.method(name)
            plugin = self.registry.owner(name)
        except LTBenchError:
            self.lost[name] = "it is not here"
            return origin
        path, text = self.was.get(origin.source, (None, None))
        if text is None and hashed(plugin.source) == origin.source:
            path, text = plugin.file, plugin.source
        if text is None:
            self.lost[name] = "its file as it was is not here; --was FOLDER says where it is"
            return origin
        package = plugin.module.partition(".")[0]
        before = [*_imported(text, path, package)] if path is not None and package else []
        told = hashlib.sha256(repr(sorted(before)).encode()).hexdigest()[:16]
        if origin.imported and told != origin.imported:
            self.lost[name] = "a file that it imports is not here as it was"
            return Origin(origin.package, origin.version, code.digest(text), origin.imported)
        same = meant(text) == meant(plugin.source)
        if same and origin.imported:
            same = sorted(map(meant, before)) == sorted(map(meant, plugin.imported_sources))
        if not same:
            self.lost[name] = "its code was changed since"
            return Origin(origin.package, origin.version, code.digest(text))
        imported = plugin.imported if origin.imported else ""
        return Origin(origin.package, origin.version, plugin.digest, imported)


def _imported(source: str, path: Path, package: str) -> Iterator[str]:
    """The texts of the files of its package that a file imports, or these do."""
    seen, left = {path}, [source]
    while left:
        for name in imports(left.pop(), f"{package}.module", path):
            inner = Path(*name.split(".")[1:] or ("__init__",)).with_suffix(".py")
            found = next((top / inner for top in path.parents[:3] if (top / inner).is_file()), path)
            if found not in seen:
                seen.add(found)
                left.append(found.read_text(encoding="utf-8"))
                yield left[-1]


def meant(source: str) -> str:
    """What a source says, whatever this version calls what it is given."""
    tree = _Renamed().visit(ast.parse(source))
    names, told = code.said(tree)
    kept = sorted({(BASES.get(name, name), alias) for name, alias in names}, key=repr)
    return repr(([pair for pair in kept if pair[0] != "Method"], told))


class _Renamed(ast.NodeTransformer):
    """What was `run.ipc` is `run.granted.ipc`, and the like."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        if node.attr == ROWS:
            return ast.Name(id=ROWS, ctx=ast.Load())
        if isinstance(node.value, ast.Attribute) and node.value.attr == "granted":
            node.value = node.value.value
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        for base in node.bases:
            if isinstance(base, ast.Name):
                base.id = BASES.get(base.id, base.id)
        return node
