"""How a source is cut: rows to put into clusters, the labels that some of them have, test rows."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ltbench.contract.context import Rows
from ltbench.datasets import Dataset
from ltbench.errors import LTBenchError
from ltbench.tracks.classification import Parts, split
from ltbench.tracks.clustering.contract import UNKNOWN
from ltbench.tracks.clustering.problem import Clusters
from ltbench.training.engine import stream_seed


@dataclass(frozen=True)
class Cut:
    """The rows of one cell: those to be put into clusters, with their true labels, and what is
    `told` [M] of these, the place of the class among the `known`, or -1."""

    parts: Parts
    pool: Rows
    told: Tensor
    known: list[int]


def cut(protocol: Clusters, dataset: Dataset, seed: int) -> Cut:
    """Cuts the data into test rows and a pool, and chooses the rows whose labels are told.

    A row of the pool stands where chance puts it, so that its place tells nothing.

    Raises:
        LTBenchError: the data do not fit the protocol, or no class would be new.
    """
    parts = split(protocol, dataset, seed)
    rows = parts.train
    pool = rows[torch.randperm(len(rows), generator=_chance(seed, "pool order"))]
    classes = len(dataset.classes)
    known = _known(protocol, classes, seed)
    told = torch.full_like(pool.labels, UNKNOWN)
    for place, c in enumerate(known):
        assert protocol.known is not None
        mine = (pool.labels == c).nonzero()[:, 0]
        number = int(protocol.known.share * len(mine))
        if not number:
            raise LTBenchError(
                f"{protocol.name}: a share of {protocol.known.share:g} of the {len(mine)} rows of "
                f"class {dataset.classes[c]} is none; raise known.share or the rows of a class"
            )
        told[mine[:number]] = place
    return Cut(parts, pool, told, known)


def _known(protocol: Clusters, classes: int, seed: int) -> list[int]:
    """The classes that are known, in their order."""
    if protocol.known is None:
        return []
    number = protocol.known.classes
    if number >= classes:
        raise LTBenchError(
            f"{protocol.name}: {number} known classes of {classes} leave none to discover; state "
            f"known.classes of {classes - 1} or less"
        )
    order = np.random.RandomState(stream_seed(seed, "known") % 2**32).permutation(classes)
    return sorted(order[:number].tolist())


def _chance(seed: int, stream: str) -> torch.Generator:
    return torch.Generator().manual_seed(stream_seed(seed, stream))
