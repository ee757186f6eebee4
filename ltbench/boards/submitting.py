"""Submitted records, examined: whether they may come onto the boards, and what mends it if not."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ltbench.boards.verifying import contradiction
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.registry.registry import Registry
from ltbench.rendering.cells import spans
from ltbench.results import records, submissions
from ltbench.results.merging import copied
from ltbench.results.records import Record, Rejected, place_of, same_code
from ltbench.results.submissions import STATED, Kept, Submission
from ltbench.running.checking import checked
from ltbench.texts import line, visible
from ltbench.validation import convert

OURS = "ltbench"
BESIDE = {"table.md", "README.md"}
"""What may stand in the folder of a protocol beside its records; it is passed over."""
LEFT = {".locks", "checkpoints", "index", "verified"}
"""Folders that a run leaves there; they are passed over as well."""
MOST = 64 * 2**10  # bytes that a submission states itself in


@dataclass(frozen=True)
class Examined:
    """What a folder submits: its `rows`, by protocol and recipe, and why it is refused, if it is.

    Each refusal ends with what mends it.
    """

    submission: Submission | None
    rows: dict[tuple[str, str], list[Record]] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)


def examine(registry: Registry, folder: Path) -> Examined:
    """Whether the records of a folder may come onto the boards.

    Raises:
        LTBenchError: it is no folder.
    """
    if not folder.is_dir():
        what = "a file; unpack it, and name the folder" if folder.exists() else "not there"
        raise LTBenchError(f"{visible(str(folder))} is {what}")
    refusals = list(_astray(folder))
    if refusals:  # nothing is read that might stand elsewhere
        return Examined(None, {}, refusals)
    try:
        submission = stated(folder / STATED)
    except LTBenchError as error:
        return Examined(None, {}, [str(error)])
    found = Examined(submission)
    for name in sorted(one.name for one in folder.iterdir() if one.is_dir()):
        found.refusals.extend(_of_protocol(registry, folder, name, submission, found.rows))
    if not (found.rows or found.refusals):
        found.refusals.append(
            f"{visible(str(folder))} holds no record of a method of {submission.package}; "
            f"ltbench run PROTOCOL -m YOURS --results {visible(str(folder))} makes some"
        )
    check = not found.refusals  # that takes seconds
    found.refusals.extend(_methods(registry, submission, found.rows, check))
    return found


def stated(file: Path) -> Submission:
    """What a `submission.toml` states.

    Raises:
        LTBenchError: it is not there, cannot be read, or states something else.
    """
    import tomllib

    owner = STATED
    try:
        if file.stat().st_size > MOST:
            raise LTBenchError(f"{owner} has more than {MOST} bytes; state who, what and with what")
        content = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise LTBenchError(
            f"{owner} is not there; it states who, paper, code, package, version and [resources]"
        ) from None
    except OSError as error:
        raise LTBenchError(f"{owner} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LTBenchError(f"{owner} is not TOML: {line(error)}") from None
    return convert(owner, content, Submission)


def _astray(folder: Path) -> Iterator[str]:
    """What leads out of a folder, or has no place in it."""
    for path in sorted(folder.rglob("*")):
        within = path.relative_to(folder)
        name, parts = visible(str(within)), within.parts
        if path.is_symlink():
            yield f"{name} is a symbolic link; put what it leads to in its place"
        elif not (path.is_file() or path.is_dir()):
            yield f"{name} is no plain file; take it out"
        elif path.is_file() and not (parts[1:2] and parts[1] in LEFT) and not _in_place(parts):
            yield (
                f"{name} has no place there; a submission holds {STATED} and, for each protocol, "
                "PROTOCOL/records/RECIPE/seed-0.json and its .npz"
            )


def _in_place(parts: Sequence[str]) -> bool:
    if len(parts) == 1:
        return parts[0] in (STATED, "README.md")
    if len(parts) == 2:
        return parts[1] in BESIDE
    return len(parts) == 4 and parts[1] == "records" and parts[3].endswith((".json", ".npz"))


def _of_protocol(
    registry: Registry,
    folder: Path,
    name: str,
    submission: Submission,
    rows: dict[tuple[str, str], list[Record]],
) -> Iterator[str]:
    """What is wrong with the records of one protocol; `rows` gathers those that are submitted."""
    try:
        protocol = registry.protocol(name) if name in registry.protocols() else None
    except LTBenchError as error:
        yield f"{name}: {error}"
        return
    if protocol is None:
        yield (
            f"{visible(name)} is no protocol that is known here; take it out, or name the package "
            "that brings it with --plugin"
        )
        return
    track = registry.track(protocol.track)
    for one in records.read_all(folder, name, track.name):
        if isinstance(one, Rejected):
            where = visible(str(one.path.relative_to(folder)))
            yield f"{where} does not count: {one.reason}; run its cell again with --fresh"
            continue
        if not any(origin.package != OURS for origin in one.plugins.values()):
            continue  # the floor of a board, which is run beside
        cell = f"{name}, {one}"
        if not protocol.counts(one.hash):
            yield (
                f"{cell} is of hash {one.hash}, and the protocol has {protocol.hash}; run it again"
            )
            continue
        if one.arrays and not place_of(folder, one).with_suffix(".npz").exists():
            yield f"{cell} lacks the .npz that was written beside it; put it there"
            continue
        said = contradiction(track, protocol, folder, one)
        if said is not None:
            yield f"{cell} does not count: {said}; run it again with --fresh"
            continue
        rows.setdefault((name, one.recipe), []).append(one)
    yield from _incomplete(protocol, rows)


def _incomplete(protocol: Protocol, rows: dict[tuple[str, str], list[Record]]) -> Iterator[str]:
    """Rows that lack seeds, or cells that did not end well."""
    for (name, recipe), found in rows.items():
        if name != protocol.name:
            continue
        for status, n in sorted(Counter(one.status for one in found).items()):
            if status != "ok":
                why = next(one.reason for one in found if one.status == status)
                yield f"{name}, {recipe}: {n} cells {status} ({line(why)}); mend the method"
        for table in sorted({one.table for one in found}):
            there = {one.seed for one in found if one.table == table}
            lacking = sorted(set(range(protocol.seeds)) - there)
            if lacking:
                on = f" on {table}" * bool(table)
                yield (
                    f"{name}, {recipe}{on} lacks seed{'s' * (len(lacking) > 1)} {spans(lacking)}; "
                    f"ltbench run {name} -m '{recipe}' --results FOLDER runs what is left"
                )


def _methods(
    registry: Registry,
    submission: Submission,
    rows: dict[tuple[str, str], list[Record]],
    check: bool,
) -> Iterator[str]:
    """Methods that are not here, not those that made the records, or fail the shared checks, if
    these are asked."""
    known = registry.methods()
    recipes = sorted({recipe for _, recipe in rows})
    made = {recipe: next(r for (_, of), r in rows.items() if of == recipe) for recipe in recipes}
    examined: set[str] = set()
    for recipe in recipes:
        for name, origin in sorted(made[recipe][0].plugins.items()):
            if origin.package == OURS or name in examined:
                continue
            examined.add(name)
            if origin.package not in (submission.package, "file"):
                yield (
                    f"method {name} is of package {origin.package}, and {STATED} names "
                    f"{submission.package}; name the one that brings it"
                )
            elif name not in known:
                yield (
                    f"method {name} is not here; install {submission.package} "
                    f"{submission.version}, or give its file with --plugin"
                )
            elif registry.owner(name).package == OURS:
                yield f"method {name} takes a name of ltbench's own; choose another, and run again"
            elif not _is_stated(registry, name, submission):
                version = registry.owner(name).version
                yield (
                    f"method {name} is installed as version {version}, and {STATED} says "
                    f"{submission.version}; install that one, or mend what is said"
                )
            elif check:
                yield from _checked(registry, name)
    for recipe in recipes:
        try:
            origins = registry.origins(registry.recipe(recipe))
        except LTBenchError as error:
            if not examined & set(made[recipe][0].plugins) - known.keys():
                yield f"{recipe} cannot be composed here: {line(error)}"
            continue
        for (name, of), found in rows.items():
            other = [one for one in found if not same_code(one.plugins, origins)]
            if of == recipe and other:
                yield (
                    f"{name}, {recipe}: {len(other)} records were made by other code of its "
                    "methods than is installed here; run them again"
                )


def _is_stated(registry: Registry, name: str, submission: Submission) -> bool:
    owner = registry.owner(name)
    return owner.package == "file" or owner.version == submission.version


def _checked(registry: Registry, name: str) -> Iterator[str]:
    report = checked(registry.recipe(name), registry)
    for one in report.findings:
        if one.status == "failed":
            said = f"fails the check that {one.check}: {line(one.text)}"
            yield f"method {name} {said}; mend it, and run again"


def take(folder: Path, found: Examined, results: Path) -> list[Path]:
    """Copies what was examined and not refused to `results`; gives the folders of its rows.

    Raises:
        LTBenchError: a row is there already from somebody else, or the folder cannot be written.
    """
    assert found.submission is not None and not found.refusals
    for protocol, recipe in found.rows:
        there = submissions.path_of(results, protocol, recipe)
        place = records.path_of(results, protocol, recipe, 0).parent
        if there.exists() or any(place.glob("*.json")):
            raise LTBenchError(f"{visible(str(place))} is there already; its row is not replaced")
    written = []
    for (protocol, recipe), every in found.rows.items():
        for record in every:
            copied(folder, record, results)
        submissions.write(results, Kept(protocol, recipe, found.submission))
        written.append(records.path_of(results, protocol, recipe, 0).parent)
    return written
