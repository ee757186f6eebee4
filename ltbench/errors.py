"""What a user can cause; the text of each is shown to them as it stands."""

from collections.abc import Iterable

MOST_TOLD = 12  # names; more are not read


class LTBenchError(Exception):
    """A request that cannot be met: names the thing, the value and the way out."""


class UnknownName(LTBenchError):
    """A name that stands for nothing here; the nearest names are offered."""

    def __init__(self, kind: str, name: str, known: Iterable[str], where: str = "") -> None:
        known = sorted(known)
        near = nearest(name, known)
        offer = f"; did you mean {near}?" if near else ""
        if not near and len(known) <= MOST_TOLD:
            offer = f"; known: {', '.join(known) or 'none'}"
        where = where or f"ltbench list {kind.replace(' ', '')}s shows all {len(known)}"
        super().__init__(f"unknown {kind} {name!r}{offer} ({where})")

    def __reduce__(self) -> tuple[type[LTBenchError], tuple[str]]:
        return LTBenchError, (str(self),)  # it may have to travel between processes


class Unmet(LTBenchError):
    """A cell that cannot be run as it stands: it is skipped, with this reason."""


class Diverged(LTBenchError):
    """A loss that is no longer a number: the cell fails, with the step at which it happened."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The up to three known names that look most like `name`, quoted and joined by "or"."""
    from difflib import get_close_matches

    return " or ".join(map(repr, get_close_matches(name, list(known), n=3, cutoff=0.6)))
