"""A protocol for data of a user's own, from the first track that has one for their kind."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ltbench.errors import LTBenchError
from ltbench.scaffolding.names import refuse_form
from ltbench.texts import readable
from ltbench.training.failures import named

if TYPE_CHECKING:
    from ltbench.contract.track import Proposal
    from ltbench.registry.registry import Registry


def proposed(registry: "Registry", name: str, path: Path, target: str | None) -> "Proposal":
    """What a track says of data at a path, and a protocol of it that can be read.

    Raises:
        LTBenchError: the name is taken or not of the form of names, the data cannot be read, or
            no track has a protocol for them.
    """
    refuse_form("protocol", name)
    if name in registry.protocols() or name in registry.datasets():
        kind = "protocol" if name in registry.protocols() else "data set"
        raise LTBenchError(f"there is a {kind} {name!r} already; choose another name")
    for track in registry.tracks().values():
        try:
            proposal = track.propose(name, path, target)
        except LTBenchError:
            raise
        # A track may be a stranger's, and raise anything at all.
        except Exception as error:
            told = f"track {track.name}, asked for a protocol, raised {named(error)}"
            raise LTBenchError(told) from error
        if proposal is not None:
            _refuse_unread(registry, proposal.text)
            return proposal
    raise LTBenchError(f"no track has a protocol for data such as {readable(str(path))}")


def _refuse_unread(registry: "Registry", text: str) -> None:
    """Makes sure that the file is a protocol, and its recipes are there."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "proposed.toml"
        file.write_text(text, encoding="utf-8")
        for recipe in registry.protocol(file).recipes:
            registry.recipe(recipe)
