"""The rows of a trial: those to train on, less a part that is scored in place of the test rows."""

from typing import TypeVar

import numpy as np
import torch
from msgspec import structs
from numpy.typing import NDArray

from ltbench.datasets import Dataset
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Classification, Imbalance
from ltbench.tracks.classification import split

C = TypeVar("C", bound=Classification)


def cut(
    labels: NDArray[np.int64], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The places of the rows [N] that are trained on, and of those that are put aside.

    The latter are `share` of each class, rounded down, drawn by the seed; a class of which that is
    none keeps its rows.

    Raises:
        LTBenchError: no class has a row to put aside.
    """
    random = np.random.RandomState(seed)
    kept, held = [], []
    for c in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == c))
        aside = int(len(rows) * share)
        held.append(rows[:aside])
        kept.append(rows[aside:])
    if not any(map(len, held)):
        raise LTBenchError(
            f"a share of {share:g} puts no row of any class aside; raise tuning_share"
        )
    return np.sort(np.concatenate(kept)), np.sort(np.concatenate(held))


def trial(protocol: C, dataset: Dataset, seed: int) -> tuple[C, Dataset]:
    """A protocol of trials and its data as an ordinary one, whose test rows are validation rows.

    What the protocol itself puts aside for methods is cut from the rows that are left. Where labels
    are made wrong, those of validation rows stay right.

    Raises:
        LTBenchError: the data do not fit, or have no row to put aside.
    """
    data = structs.replace(protocol.data, validation_share=None, label_noise=0.0)
    rows = split(structs.replace(protocol, data=data), dataset, seed).train
    labels = rows.labels.numpy()
    kept, held = (torch.from_numpy(place) for place in cut(labels, protocol.trial_share, seed))
    apart = Dataset(
        rows[kept],
        dataset.classes,
        rows[held],
        dataset.fingerprint,
        (*dataset.notes, *kept_whole(labels, labels[held.numpy()], dataset.classes)),
    )
    ordinary = structs.replace(
        protocol,
        trial_share=0.0,
        data=structs.replace(protocol.data, fingerprint="any", test_per_class=None),
        imbalance=Imbalance(profile="source"),
    )
    return ordinary, apart


def kept_whole(
    labels: NDArray[np.int64], held: NDArray[np.int64], classes: tuple[str, ...]
) -> list[str]:
    """What is to be said of the classes that have rows and none among those put aside."""
    names = [classes[c] for c in np.setdiff1d(labels, held)]
    if not names:
        return []
    one = len(names) == 1
    return [
        f"{len(names)} of {len(classes)} classes ({', '.join(names)}) "
        f"{'keeps its' if one else 'keep their'} rows in trials, and validation leaves "
        f"{'it' if one else 'them'} out"
    ]
