"""Texts from templates, and files of them: all are written, or none."""

import ast
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from string import Template

from ltbench.errors import LTBenchError
from ltbench.texts import line

TEMPLATES = Path(__file__).parent / "templates"
ENDING = ".txt"  # of a template, after that of the file which it becomes


def template(name: str, own: Path | None = None) -> Path:
    """The template of a file: that in a folder of one's own, else the common one."""
    if own is not None and (own / f"{name}{ENDING}").is_file():
        return own / f"{name}{ENDING}"
    return TEMPLATES / f"{name}{ENDING}"


def rendered(source: Path, values: Mapping[str, str]) -> str:
    """The text of a template, with a value for each of its `$names`.

    Raises:
        LTBenchError: a name in it would stand for two things, or a track's own template is none.
    """
    try:
        text = Template(source.read_text(encoding="utf-8")).substitute(values)
        bound = Counter(_bound(text) if source.name.endswith(f".py{ENDING}") else ())
    except (KeyError, ValueError, SyntaxError) as error:
        raise LTBenchError(f"{source} is no template: {line(error, repr)}") from None
    for name, times in bound.items():
        if times > 1:
            raise LTBenchError(f"{name} would be two things in one file; choose another name")
    return text


def _bound(source: str) -> list[str]:
    """What a module's own lines bind: what it imports, and its functions and classes."""
    names = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names += [alias.asname or alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.append(node.name)
    return names


def write(folder: Path, texts: Mapping[str, str], whole: bool = False) -> list[Path]:
    """Writes texts by their paths below a folder, which is made if it is missing.

    `whole` says that the folder is all theirs; nothing but a repository of git may be in it.

    Raises:
        LTBenchError: a file is there already, or cannot be written; nothing is left behind then.
    """
    wanted = {folder / name: text for name, text in texts.items()}
    if whole and folder.is_dir() and {path.name for path in folder.iterdir()} - {".git"}:
        raise LTBenchError(f"folder {folder} is not empty; remove it, or choose another name")
    for path in wanted:
        if path.exists() or path.is_symlink():
            raise LTBenchError(f"{path} is there already; nothing was written")
    made: list[Path] = []
    try:
        for path, text in wanted.items():
            for above in reversed([one for one in path.parents if not one.exists()]):
                above.mkdir()
                made.append(above)
            made.append(path)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        for path in reversed(made):
            with suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()
        where = error.filename or folder
        raise LTBenchError(f"{where} cannot be written: {error.strerror}") from None
    return [*wanted]
