"""What a new thing is called, in a recipe, as a module and as a class."""

import keyword
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec

from ltbench.contract.method import NAME
from ltbench.errors import LTBenchError

RESERVED = ("conftest", "setup", "spy")
"""What pytest, an installation and the marked task call something of their own."""


@dataclass(frozen=True)
class Spelling:
    """A name such as "soft-weights", and how it is spelled elsewhere."""

    name: str

    @property
    def module(self) -> str:
        return self.name.replace("-", "_")

    @property
    def class_name(self) -> str:
        return "".join(part.capitalize() for part in self.name.split("-"))

    @property
    def title(self) -> str:
        return self.name.replace("-", " ").capitalize()

    @property
    def distribution(self) -> str:
        return f"ltbench-{self.name}"

    @property
    def package(self) -> str:
        return f"ltbench_{self.module}"


def spelling(kind: str, name: str, taken: Iterable[str], packaged: bool = False) -> Spelling:
    """The spellings of a new name; `packaged` says that its module stands in a package.

    Raises:
        LTBenchError: it is not of the form of names, no module can be called so, or it is taken.
    """
    found = Spelling(name)
    refuse_form(kind, name)
    if name in taken:
        raise LTBenchError(f"there is a {kind} {name!r} already; choose another name")
    if name[0].isdigit() or keyword.iskeyword(found.module):
        raise LTBenchError(f"no module can be called {found.module!r}; choose another name")
    if name in RESERVED or name.startswith("test-") or name == "test":
        raise LTBenchError(f"{name!r} is reserved for tests and installations; choose another name")
    top = found.package if packaged else found.module
    if top in sys.stdlib_module_names or find_spec(top) is not None:
        raise LTBenchError(f"there is a module {top!r} already, which yours would hide; rename it")
    return found


def refuse_form(kind: str, name: str) -> None:
    """Refuses what is not of the form of names, and offers what is.

    Raises:
        LTBenchError: it is none.
    """
    if NAME.fullmatch(name):
        return
    near = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name)
    near = re.sub(r"[^a-z0-9]+", "-", near.casefold()).strip("-")
    offer = f"; say {near!r}" if NAME.fullmatch(near) else ""
    raise LTBenchError(f"a {kind} is called as 'soft-weights' is, not {name!r}{offer}")
