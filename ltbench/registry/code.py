"""What a source says, whatever it looks like: its syntax tree, and a digest of that."""

import ast
import hashlib
from collections.abc import Iterable
from typing import Any

DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
UNREAD = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What is raised over a source that does not parse, or is nested too deeply."""


def digest(source: str) -> str:
    """A hash of the syntax tree without docstrings, comments, the paths of imports and the search
    spaces of methods.

    Moving a file or mending a sentence leaves it as it was, and so does another space: a record
    tells the parameters themselves. A source that cannot be read as code is taken letter by letter.
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
    apart = _without_spaces(tree)
    for node in ast.walk(tree):
        for field, block in list(ast.iter_fields(node)):
            if isinstance(block, list):
                kept = [one for one in block if not _is_import(one, names)]
                setattr(node, field, kept)
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    names = {(name, alias) for name, alias in names if (alias or name) not in apart}
    return (sorted(names, key=ascii), _nested(tree))


def _without_spaces(tree: ast.Module) -> set[str]:
    """Takes the search spaces out of all classes; gives the names that stand in these alone."""
    spaces: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            own = [one for one in node.body if _is_space(one)]
            node.body = [one for one in node.body if one not in own]
            spaces += own
    kept = _named(tree)
    return set().union(*map(_named, spaces)) - kept


def _is_space(node: ast.AST) -> bool:
    """Whether it is `space = {...}`, as in a method."""
    if isinstance(node, ast.Assign):
        targets: list[ast.expr] = node.targets
    else:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else []
    return [one.id for one in targets if isinstance(one, ast.Name)] == ["space"]


def _named(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


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
