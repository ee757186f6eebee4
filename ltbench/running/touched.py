"""What a change touches: the methods, protocols, tracks and records that differ from a revision."""

import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.registry import code
from ltbench.registry.discovery import core_files
from ltbench.registry.registry import Registry
from ltbench.texts import line


@dataclass(frozen=True)
class Change:
    """The files that say something else than at a revision, `base`, from which the change began.

    A Python file whose docstrings and comments alone differ says the same.
    """

    root: Path
    base: str
    files: frozenset[Path]

    def methods(self, registry: Registry) -> list[str]:
        """The methods whose file, or one that it imports from its own package, says another."""
        return [
            name
            for name in registry.methods()
            if self.files & {file.resolve() for file in registry.owner(name).files}
        ]

    def protocols(self, registry: Registry) -> list[str]:
        """The protocols whose files say something else."""
        there = registry.protocols().items()
        return sorted(name for name, file in there if file.resolve() in self.files)

    def runs(self, registry: Registry, protocol: Protocol) -> bool:
        """Whether the code that decides a protocol's numbers, methods aside, says another."""
        modules = registry.track(protocol.track).modules(protocol)
        return bool(self.files & {file.resolve() for file in core_files(modules)})

    def recipes(self, results: Path, protocol: str) -> set[str]:
        """The folders of recipes among whose committed records of a protocol any differs."""
        place = (results / protocol / "records").resolve()
        return {file.parent.name for file in self.files if file.parent.parent == place}

    def boards(self, results: Path) -> list[str]:
        """The protocols of which any committed record differs."""
        place = results.resolve()
        return sorted(
            {
                file.relative_to(place).parts[0]
                for file in self.files
                if file.is_relative_to(place) and file.parent.parent.name == "records"
            }
        )


def change_since(revision: str) -> Change:
    """What the working tree holds that did not stand where it parted from a revision.

    Raises:
        LTBenchError: this is no folder of a git repository, or there is no such revision.
    """
    if not revision or revision.startswith("-"):
        raise LTBenchError(f"{revision!r} is no revision; say one that git knows, as main")
    root = Path(_git("rev-parse", "--show-toplevel").strip())
    base = _git("merge-base", revision, "HEAD").strip()
    tracked = _names(_git("diff", "--name-only", "-z", "--no-renames", base, at=root))
    new = _names(_git("ls-files", "--others", "--exclude-standard", "-z", at=root))
    found = (name for name in (*tracked, *new) if not _says_the_same(root, base, name))
    return Change(root, base, frozenset((root / name).resolve() for name in found))


def _names(listed: str) -> Iterator[str]:
    return filter(None, listed.split("\0"))


def _says_the_same(root: Path, base: str, name: str) -> bool:
    file = root / name
    if file.suffix != ".py" or not file.is_file():
        return False
    try:
        before = _git("show", f"{base}:{name}", at=root)
    except LTBenchError:  # it is new
        return False
    return code.digest(before) == code.digest(file.read_text(encoding="utf-8", errors="replace"))


def _git(*words: str, at: Path | None = None) -> str:
    """What git answers.

    Raises:
        LTBenchError: it cannot be run, or refuses.
    """
    try:
        done = subprocess.run(["git", *words], cwd=at, capture_output=True)
    except OSError as error:
        raise LTBenchError(f"git cannot be run: {error.strerror}") from None
    if done.returncode != 0:
        why = line(done.stderr.decode(errors="replace")) or f"exit code {done.returncode}"
        raise LTBenchError(f"git {words[0]} {words[-1]}: {why}")
    return done.stdout.decode(errors="surrogateescape")


def rows_with(methods: Iterable[str], recipes: Iterable[str], registry: Registry) -> list[str]:
    """The recipes of which any of some methods is part; one that is unknown here has none."""
    wanted = set(methods)
    found = []
    for text in recipes:
        try:
            recipe = registry.recipe(text)
        except LTBenchError:
            continue
        if wanted & {method.name for method in recipe.methods}:
            found.append(recipe.text)
    return found
