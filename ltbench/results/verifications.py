"""Verifications: what came of running a recorded cell again, in a file of its own beside it."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct, structs

from ltbench.results.records import UNREADABLE, Folder, Record, file_of, folder_of, write_bytes

Outcome = Literal["same", "close", "different"]


class Verification(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What somebody found who ran a cell again, `by` whom and `when`.

    `outcome` is "same" for the same bits, "close" within the tolerance, or "different"; `what` says
    what differs first. Of `rows` predictions `other` differ. `unlike` names what differs of code,
    device, versions or processor. `record` and `again` are the digests of both records; `digest`
    covers all other fields.
    """

    protocol: Folder
    recipe: str
    seed: int
    by: Folder
    when: str
    outcome: Outcome
    record: str
    again: str
    environment: dict[str, Any]
    table: Folder = ""
    what: str = ""
    rows: int = 0
    other: int = 0
    unlike: list[str] = []
    digest: str = ""

    def sealed(self) -> "Verification":
        return structs.replace(self, digest=self.computed_digest())

    def computed_digest(self) -> str:
        encoded = msgspec.json.encode(structs.replace(self, digest=""), order="sorted")
        return hashlib.sha256(encoded).hexdigest()[:16]


_DECODER = msgspec.json.Decoder(Verification)


def path_of(results: Path, found: Verification) -> Path:
    name = f"{file_of(found.seed, found.table)}.{found.by}.json"
    return results / found.protocol / "verified" / folder_of(found.recipe) / name


def write(results: Path, found: Verification) -> Verification:
    """Writes a verification, in place of an earlier one by the same hand.

    Raises:
        LTBenchError: the folder cannot be written.
    """
    told = found.sealed()
    content = msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n"
    write_bytes(path_of(results, told), content)
    return told


def read_all(results: Path, protocol: str) -> Iterator[tuple[Path, Verification | str]]:
    """Every verification of a protocol's records, or why a file is none."""
    for path in sorted((results / protocol / "verified").glob("*/*.json")):
        try:
            found = _DECODER.decode(path.read_bytes())
        except OSError as error:
            yield path, f"it cannot be read ({error.strerror})"
        except UNREADABLE as error:
            yield path, f"it is no verification ({' '.join(str(error).replace('`', '').split())})"
        else:
            if found.digest != found.computed_digest():
                yield path, "its digest does not fit; it was changed by hand"
            elif path != path_of(results, found):
                yield path, f"it is of {found.protocol}, {found.recipe} seed {found.seed}"
            else:
                yield path, found


def of_record(found: Verification, record: Record) -> bool:
    """Whether a verification is of a record as it stands, and not of one that was there before."""
    return found.record == record.digest
