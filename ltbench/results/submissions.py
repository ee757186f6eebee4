"""Submissions: who made the rows of a board that came from elsewhere, and with what."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from ltbench.results.records import UNREADABLE, Folder, folder_of, write_bytes

NOTHING = "none"
STATED = "submission.toml"

Text = Annotated[str, Meta(min_length=1, max_length=300)]


class Resources(Struct, frozen=True, forbid_unknown_fields=True):
    """What a method was made with that its protocol does not give; "none" where there is nothing.

    `tuning_trials` are the settings that were tried before these numbers.
    """

    extra_data: Text
    pretraining: Text
    teachers: Text
    tuning_trials: Annotated[int, Meta(ge=0)]

    @property
    def beyond(self) -> list[str]:
        """What of it sets a row apart from those that had to do with what the protocol gives."""
        told = {
            "extra data": self.extra_data,
            "pre-training": self.pretraining,
            "teachers": self.teachers,
        }
        return [name for name, value in told.items() if value.strip().casefold() != NOTHING]


class Submission(Struct, frozen=True, forbid_unknown_fields=True):
    """What a `submission.toml` states: `who` submits rows, of which `paper`, where the `code` is,
    and the `package` with its `version` that brings the methods."""

    who: Text
    paper: Text
    code: Text
    package: Text
    version: Text
    resources: Resources


class Kept(Struct, frozen=True, forbid_unknown_fields=True):
    """A submission as it stands beside the records of one row."""

    protocol: Folder
    recipe: str
    submission: Submission


_DECODER = msgspec.json.Decoder(Kept)


def path_of(results: Path, protocol: str, recipe: str) -> Path:
    return results / protocol / "submissions" / f"{folder_of(recipe)}.json"


def write(results: Path, kept: Kept) -> Path:
    """Writes a submission beside the records of its row.

    Raises:
        LTBenchError: the folder cannot be written.
    """
    path = path_of(results, kept.protocol, kept.recipe)
    write_bytes(path, msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n")
    return path


def read_all(results: Path, protocol: str) -> Iterator[tuple[Path, Kept | str]]:
    """What is told of the rows of a protocol that were submitted, or why a file tells nothing."""
    for path in sorted((results / protocol / "submissions").glob("*.json")):
        try:
            kept = _DECODER.decode(path.read_bytes())
        except OSError as error:
            yield path, f"it cannot be read ({error.strerror})"
        except UNREADABLE as error:
            yield path, f"it is no submission ({' '.join(str(error).replace('`', '').split())})"
        else:
            here = path_of(results, protocol, kept.recipe)
            fits = kept.protocol == protocol and here == path
            yield path, kept if fits else f"it is of {kept.protocol}, {kept.recipe}"
