"""Whether a method's file says what it said when a record was made, under other names."""

import ast
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ltbench.errors import LTBenchError
from ltbench.registry import code
from ltbench.registry.discovery import Plugin, imports
from ltbench.registry.registry import Registry
from ltbench.results.records import Origin

BASES = {"Compressor": "Method"}  # a contract that was part of a larger one
ROWS = ("train", "categorical")  # the second was told by the run, and is by its rows


def hashed(text: str) -> str:
    """The hash of a file that records of the earlier form tell."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass
class Carrier:
    """Carries the origins of methods over; `was` are files as they were, by their hash."""

    registry: Registry
    was: dict[str, list[Path]] = field(default_factory=dict)
    known: dict[tuple[str, Origin], tuple[Origin, str]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, registry: Registry, folders: Sequence[Path]) -> "Carrier":
        """A carrier that knows the files below some folders, as those of an earlier version.

        Raises:
            LTBenchError: one is no folder.
        """
        carrier = cls(registry)
        for folder in folders:
            if not folder.is_dir():
                raise LTBenchError(f"{folder} is no folder; name one with the files as they were")
            for path in sorted(folder.rglob("*.py")):
                hidden = any(part[0] == "." for part in path.relative_to(folder).parts)
                if path.is_file() and not hidden:
                    carrier.was.setdefault(hashed(_text(path)), []).append(path)
        return carrier

    def __call__(self, name: str, origin: Origin) -> tuple[Origin, str]:
        """The origin of a method as records tell it now, and why it could not be carried over.

        One that was carried over has no such reason; one that was not fits no file.
        """
        key = name, origin
        if key not in self.known:
            self.known[key] = self._carried(name, origin)
        return self.known[key]

    def _carried(self, name: str, origin: Origin) -> tuple[Origin, str]:
        try:
            self.registry.method(name)
        except LTBenchError:
            return origin, "it is not here"
        plugin = self.registry.owner(name)
        found = list(self._as_it_was(plugin, origin))
        if not found:
            return origin, "its file as it was is not here; --was FOLDER says where it is"
        fitting = [pair for pair in found if origin.imported in ("", hashed(repr(sorted(pair[1]))))]
        if not fitting:
            told = Origin(origin.package, origin.version, code.digest(found[0][0]), origin.imported)
            return told, "a file that it imports is not here as it was"
        source, imported = fitting[0]
        same = meant(source) == meant(plugin.source)
        if same and origin.imported:
            same = sorted(map(meant, imported)) == sorted(map(meant, plugin.imported_sources))
        if same:
            source, imported = plugin.source, plugin.imported_sources
        together = code.digest_of(imported) if origin.imported else ""
        told = Origin(origin.package, origin.version, code.digest(source), together)
        return told, "" if same else "its code was changed since"

    def _as_it_was(self, plugin: Plugin, origin: Origin) -> Iterator[tuple[str, list[str]]]:
        """The source that made a record and the files that it imported, of each place it stands."""
        package = plugin.module.partition(".")[0]
        for path in self.was.get(origin.source, []):
            source = _text(path)
            yield source, [*_imported(source, path, package)] if package else []
        if hashed(plugin.source) == origin.source:
            yield plugin.source, plugin.imported_sources


def _imported(source: str, path: Path, package: str) -> Iterator[str]:
    """The texts of the files of its package that a file imports, or these do."""
    seen, left = {path}, [source]
    while left:
        for name in imports(left.pop(), f"{package}.module", path):
            inner = Path(*name.split(".")[1:])
            places = (top / inner for top in path.parents[:3])
            files = (file for at in places for file in (at.with_suffix(".py"), at / "__init__.py"))
            found = next((file for file in files if file.is_file()), path)
            if found not in seen:
                seen.add(found)
                left.append(_text(found))
                yield left[-1]


def _text(path: Path) -> str:
    """What a file says; nothing where it cannot be read, as nothing was made of that."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def meant(source: str) -> str:
    """What a source says, whatever this version calls what it is given."""
    try:
        names, told = code.said(_Renamed().visit(ast.parse(source)))
    except code.UNREAD:
        return source
    kept = sorted({(BASES.get(name, name), alias) for name, alias in names}, key=repr)
    return repr(([pair for pair in kept if pair[0] != "Method"], told))


class _Renamed(ast.NodeTransformer):
    """What was `run.ipc` is `run.granted.ipc`, and the like."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        within = node.value
        if isinstance(within, ast.Attribute) and (
            within.attr == "granted" or (within.attr, node.attr) == ROWS
        ):
            node.value = within.value
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        for base in node.bases:
            if isinstance(base, ast.Name):
                base.id = BASES.get(base.id, base.id)
        return node
