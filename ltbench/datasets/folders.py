"""Pictures in class folders, or named by list files with their labels."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ltbench.datasets.pictures import Source, Split
from ltbench.errors import LTBenchError
from ltbench.texts import composed, readable

ENDINGS = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".bmp", ".gif", ".tif", ".tiff"),
    *(".webp", ".avif", ".ppm", ".pgm", ".pbm", ".pnm"),
)
TRAIN, TEST = ("train", "training"), ("test", "testing")
ASIDE = ("val", "valid", "validation", "dev")
LISTED = re.compile(r"(?P<place>.*[^\s,])[\s,]+(?P<label>\d{1,18})", re.ASCII)


def hidden(name: str) -> bool:
    """Whether a file or folder is not meant to be seen, as those of a system's own."""
    return name.startswith(".") or name.casefold() in ("__macosx", "thumbs.db", "desktop.ini")


def of_folders(path: Path) -> tuple[list[Split], list[str], list[str]]:
    """The splits, the names of the classes and notes of class folders, below split folders or not.

    Raises:
        LTBenchError: there are none, or those of the two splits differ.
    """
    folders, notes = _split_folders(path)
    classes = [_class_folders(folder) for folder in folders]
    names = sorted(classes[0])
    if len(classes) == 2 and classes[1].keys() != classes[0].keys():
        missing = sorted(classes[0].keys() ^ classes[1].keys())
        raise LTBenchError(f"{readable(str(path))}: class {missing[0]} is in one split only")
    splits, below, loose, others = [], 0, 0, Counter[str]()
    for folder, found in zip(folders, classes, strict=True):
        images: list[Source] = []
        loose += sum(entry.suffix.lower() in ENDINGS for entry in _entries(folder))
        for label, name in enumerate(names):
            for file in _files(found[name]):
                if file.suffix.lower() in ENDINGS:
                    images.append((readable(str(file)), file.read_bytes, label))
                    below += file.parent != found[name]
                else:
                    others[readable(file.suffix.lower()) or "none"] += 1
        splits.append(Split(folder, images))
    if below:
        notes.append(f"{below} images stand in sub-folders of the folder of their class")
    if loose:
        notes.append(f"{loose} images stand outside of the folders of classes and are not read")
    if others:
        notes.append(
            f"{others.total()} files are no pictures by their ending ({', '.join(sorted(others))})"
        )
    return splits, names, notes


def _split_folders(path: Path) -> tuple[list[Path], list[str]]:
    """The folders of the splits that there are; the folder itself where it has none."""
    found = [entry for entry in _entries(path) if os.path.isdir(entry)]
    train, test, aside = (
        [entry for entry in found if entry.name.casefold() in names]
        for names in (TRAIN, TEST, ASIDE)
    )
    for several in (train, test):
        if len(several) > 1:
            names = " and ".join(folder.name for folder in several)
            raise LTBenchError(f"{readable(str(path))} has folders {names}; which is meant?")
    if not train:
        if test and any(map(os.path.isdir, _entries(test[0]))):
            raise LTBenchError(
                f"{readable(str(path))} has a folder {test[0].name}, but none called train"
            )
        return [path], []
    return [*train, *test], [f"the folder {entry.name} is not read" for entry in aside]


def _class_folders(folder: Path) -> dict[str, Path]:
    """The class folders by name; how a name's accents are composed does not count."""
    found = [(composed(entry.name), entry) for entry in _entries(folder) if os.path.isdir(entry)]
    if not found:
        raise LTBenchError(f"{readable(str(folder))} holds no class folders")
    seen: dict[str, Path] = {}
    for name, entry in found:
        twin = seen.setdefault(name.casefold().strip(), entry)
        if twin is not entry:
            alike = composed(twin.name) == name
            names = sorted((ascii if alike else repr)(one.name) for one in (twin, entry))
            raise LTBenchError(
                f"{readable(str(folder))} has two classes of one name: {' and '.join(names)}"
            )
    return dict(found)


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, but for what is hidden, in order of name.

    Raises:
        LTBenchError: it cannot be read.
    """
    try:
        there = [entry for entry in folder.iterdir() if not hidden(entry.name)]
    except OSError as error:
        told = f"{readable(str(folder))} cannot be read: {error.strerror}"
        raise LTBenchError(told) from None
    return sorted(there, key=lambda entry: composed(entry.name))


def _files(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """The files of a folder and of those below it, in order of their path; links are followed."""
    real = os.path.realpath(folder)
    for entry in _entries(folder) if real not in above else ():
        if os.path.isdir(entry):
            yield from _files(entry, above | {real})
        else:
            yield entry


def named(folder: Path, name: str) -> Path | None:
    """The file of a name in a folder, in whatever case it is written."""
    if (folder / name).is_file():
        return folder / name
    found = (entry for entry in _entries(folder) if entry.name.casefold() == name)
    return next((entry for entry in found if os.path.isfile(entry)), None)


def listed(file: Path) -> Iterator[Source]:
    """The images that a list file names: on each line a path below its folder, and a label.

    Raises:
        LTBenchError: a line is none of that kind, or leads elsewhere.
    """
    root, called = file.parent.resolve(), readable(str(file))
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LTBenchError(f"{called} cannot be read as text: {error}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        match = LISTED.fullmatch(line.strip())
        if match is None or "\0" in line:
            raise LTBenchError(
                f"{called}, line {number}: expected a path and a label, got {line!r}"
            )
        image = _found(root, match["place"])
        if not image.is_relative_to(root):
            raise LTBenchError(
                f"{called}, line {number}: {match['place']} points outside of {file.parent}"
            )
        yield readable(str(file.parent / match["place"])), image.read_bytes, int(match["label"])


def _found(root: Path, place: str) -> Path:
    """Where an image stands, whatever wrote its path: letters in any form, either slash.

    A link may lead out of the folder, a name may not.
    """
    forms = [place, *(unicodedata.normalize(form, place) for form in ("NFC", "NFD"))]
    forms += [form.replace("\\", "/") for form in forms if "\\" in form]
    paths = [Path(os.path.normpath(root / form)) for form in forms]
    return next((path for path in paths if os.path.exists(path)), paths[0])
