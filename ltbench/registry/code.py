"""What a source says, whatever it looks like: its syntax tree, and a digest of that."""

import ast
import hashlib
from collections.abc import Iterable
from typing import Any

DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
UNREAD = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What is raised over a source that does not parse, or is nested too deeply."""


def digest(source: str) -> str:
    """A hash of the syntax tree without docstrings, comments and the paths of imports.

    Moving a file or mending a sentence leaves it as it was. A source that cannot be read as code is
    taken letter by letter.
    """
    try:
        told = ascii(said(ast.parse(source)))  # repr escapes other letters in each Python
    except UNREAD:
        told = ascii(source)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def digest_of(sources: Iterable[str]) -> str:
    """A hash of what several sources say, in whatever order; empty for none."""
    digests = sorted(map(digest, sources))
    return hashlib.sha256(repr(digests).encode()).hexdigest()[:16] if digests else ""


def said(tree: ast.Module) -> Any:
    """A tree as nested tuples: empty fields, which versions of Python add, are left out."""
    names: set[tuple[str, str | None]] = set()
    for node in ast.walk(tree):
        for field, block in list(ast.iter_fields(node)):
            if isinstance(block, list):
                kept = [one for one in block if not _is_import(one, names)]
                setattr(node, field, kept)
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return (sorted(names, key=ascii), _nested(tree))


def _is_import(node: Any, names: set[tuple[str, str | None]]) -> bool:
    """Whether it is an import; `names` gathers what imports bring."""
    if not isinstance(node, ast.Import | ast.ImportFrom):
        return False
    for alias in node.names:
        names.add((alias.name.rpartition(".")[2], alias.asname))
    return True


def _nested(node: Any) -> Any:
    if isinstance(node, ast.AST):
        fields = ((name, getattr(node, name, None)) for name in node._fields)
        told = [(name, _nested(value)) for name, value in fields if value not in (None, [])]
        return (type(node).__name__, *told)
    return [*map(_nested, node)] if isinstance(node, list) else node
