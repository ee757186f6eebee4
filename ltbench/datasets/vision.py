"""The public image sets that torchvision knows, downloaded once and verified by their checksums."""

import hashlib
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import torch
from torchvision import datasets
from torchvision.datasets.utils import check_integrity

from ltbench.contract.context import Rows
from ltbench.datasets import Dataset, data_folder
from ltbench.datasets.files import read
from ltbench.errors import LTBenchError

SETS = {
    "cifar10": datasets.CIFAR10,
    "cifar100": datasets.CIFAR100,
    "fashion-mnist": datasets.FashionMNIST,
    "mnist": datasets.MNIST,
    "svhn": datasets.SVHN,
}


def load(name: str) -> Dataset:
    """The data set of a name: in the data folder as parquet files, or as torchvision keeps it.

    Raises:
        LTBenchError: it is not in the data folder and cannot be downloaded.
    """
    folder = data_folder() / name
    if (folder / "train.parquet").exists():
        return read(folder)
    try:
        parts = [_part(name, folder, train) for train in (True, False)]
    except (RuntimeError, OSError) as error:
        raise LTBenchError(
            f"data set {name} is not in {folder} and could not be downloaded "
            f"({shorten(str(error), 100)}); set LTBENCH_DATA to a folder that holds it"
        ) from None
    checksum = None if name == "mnist" else _checksum(name)
    return Dataset(_rows(parts[0]), _classes(parts[0]), _rows(parts[1]), checksum)


def _part(name: str, folder: Path, train: bool) -> Any:
    kind = SETS[name]
    chosen = {"split": "train" if train else "test"} if name == "svhn" else {"train": train}
    part = kind(folder, download=True, **chosen)
    for file, md5 in getattr(kind, "resources", []):
        if not check_integrity(Path(part.raw_folder) / file, md5):
            raise RuntimeError(f"{file} is missing or not the published file")
    return part


def _checksum(name: str) -> str:
    """A hash of the checksums that the publisher gives for the files of a set."""
    kind: Any = SETS[name]
    told = {
        "cifar10": lambda: [kind.tgz_md5],
        "cifar100": lambda: [kind.tgz_md5],
        "fashion-mnist": lambda: [md5 for _, md5 in kind.resources],
        "svhn": lambda: [kind.split_list[split][2] for split in ("train", "test")],
    }[name]()
    return hashlib.sha256(" ".join(told).encode()).hexdigest()[:16]


def _rows(part: Any) -> Rows:
    images = torch.as_tensor(np.asarray(part.data))
    if images.dim() == 3:  # grey
        images = images[:, None]
    elif images.shape[1] > images.shape[3]:  # colours last
        images = images.permute(0, 3, 1, 2)
    labels = part.labels if hasattr(part, "labels") else part.targets
    return Rows(images.contiguous(), torch.as_tensor(np.asarray(labels)).long())


def _classes(part: Any) -> tuple[str, ...]:
    names = getattr(part, "classes", map(str, range(10)))
    return tuple(name.partition(" - ")[0] for name in names)  # torchvision says "3 - three"
