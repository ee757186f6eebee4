"""The version of what plugins are written against, and which of them it serves."""

import re

from ltbench.errors import LTBenchError

INTERFACE = (1, 0)
"""What this ltbench serves. The second number rises with what may break a plugin, which serves one
more such step, with a warning; the first with what leaves all earlier ones out."""

CHANGES: dict[tuple[int, int], str] = {}
"""What a plugin has to change to be of a version, for each after the first."""

STATED = re.compile(r"^LTBENCH_INTERFACE\s*(?::[^=\n]+)?=\s*(.*?)\s*(?:#.*)?$", re.MULTILINE)
WRITTEN = re.compile(r"""(["'])(\d{1,4})\.(\d{1,4})\1""")


def unserved(
    source: str,
    interface: tuple[int, int] = INTERFACE,
    changes: dict[tuple[int, int], str] = CHANGES,
) -> str:
    """The warning that is due to a module of which this is the source; empty for none.

    It may say `LTBENCH_INTERFACE = "1.0"`; one that does not is taken to be of this version.

    Raises:
        LTBenchError: it is of a version that is not served, or of none.
    """
    stated = STATED.search(source)
    if stated is None:
        return ""
    written = WRITTEN.fullmatch(stated[1])
    if written is None:
        raise LTBenchError(
            f"LTBENCH_INTERFACE is {stated[1]}; say a version, as in "
            f'LTBENCH_INTERFACE = "{_said(interface)}"'
        )
    asked = int(written[2]), int(written[3])
    if asked > interface:
        raise LTBenchError(
            f"it asks for plugin interface {_said(asked)}, but this ltbench has "
            f"{_said(interface)}; a newer ltbench serves it: pip install --upgrade ltbench"
        )
    if asked == interface:
        return ""
    told = "; ".join(changes[step] for step in sorted(changes) if asked < step <= interface)
    if asked[0] == interface[0] and asked[1] + 1 == interface[1]:
        return (
            f"it is written for plugin interface {_said(asked)}, which {_said(interface)} still "
            f"serves and the next will not; to change: {told}"
        )
    raise LTBenchError(
        f"it is written for plugin interface {_said(asked)}, which {_said(interface)} no longer "
        f"serves; to change: {told}"
    )


def _said(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
