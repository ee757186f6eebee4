"""Tables beside the records that they are made from."""

from pathlib import Path
from typing import TYPE_CHECKING

from ltbench.commands.options import tell_rejected

if TYPE_CHECKING:
    from ltbench.boards.reading import Read
    from ltbench.registry.registry import Registry


def write_table(
    registry: "Registry", protocol: str, results: Path, mixed: bool = False
) -> "tuple[Read, Path]":
    """Writes the board of a protocol into its results folder; gives it, and where it stands.

    With `mixed`, records of several codes or devices stand together.

    Raises:
        LTBenchError: there is none, or it cannot be written.
    """
    from ltbench.boards.reading import read
    from ltbench.results import records

    found = read(registry, protocol, results, mixed)
    path = results / registry.protocol(protocol).name / "table.md"
    records.write_text(path, found.board.markdown())
    tell_rejected(found.rejected)
    return found, path
