"""Studies: which settings of a recipe were drawn to be tried, and of what, in a file each."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from ltbench.errors import LTBenchError
from ltbench.results import records

FOLDER = "tuning"


class Study(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The `drawn` settings of a recipe by seed, in the order in which they count.

    The first is the recipe as it is. `hash` is that of the protocol of trials, `space` says within
    which values each parameter was drawn. What the trials came to stands in their own records, and
    so does what was chosen follow from these.
    """

    protocol: str
    hash: str
    recipe: str
    trials: int
    space: dict[str, str]
    drawn: dict[str, list[str]]


def folder_of(results: Path, protocol: str) -> Path:
    """Where the trials of a protocol stand, and the cells of settings that were chosen."""
    return results / protocol / FOLDER


def place_of(folder: Path, recipe: str) -> Path:
    return folder / "studies" / f"{records.folder_of(recipe)}.json"


def write(folder: Path, study: Study) -> None:
    """Writes a study beside the records of its trials.

    Raises:
        LTBenchError: the folder cannot be written.
    """
    content = msgspec.json.format(msgspec.json.encode(study), indent=1) + b"\n"
    records.write_bytes(place_of(folder, study.recipe), content)


def read(path: Path) -> Study:
    """The study in a file.

    Raises:
        LTBenchError: it is none.
    """
    try:
        return _DECODER.decode(path.read_bytes())
    except OSError as error:
        raise LTBenchError(f"{path} cannot be read ({error.strerror})") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        told = str(error).replace("`", "")
        raise LTBenchError(f"{path} is no study ({told}); move it away") from None


_DECODER = msgspec.json.Decoder(Study)


def read_all(folder: Path) -> Iterator[Study]:
    """Every study in a folder, in order of file name.

    Raises:
        LTBenchError: a file is none.
    """
    for path in sorted((folder / "studies").glob("*.json")):
        yield read(path)


def together(first: Study, second: Study) -> Study:
    """Two studies of one recipe, of which each may have seeds that the other lacks.

    Raises:
        LTBenchError: they drew otherwise.
    """
    seeds = first.drawn.keys() & second.drawn.keys()
    alike = structs.replace(first, drawn={}) == structs.replace(second, drawn={})
    if not alike or any(first.drawn[seed] != second.drawn[seed] for seed in seeds):
        raise LTBenchError(
            f"two studies of {first.recipe} on {first.protocol} disagree in what they drew; tune "
            "both with the same --trials and the same search space"
        )
    return structs.replace(first, drawn={**first.drawn, **second.drawn})
