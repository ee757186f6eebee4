"""What tracks that train one network have in common as they divide the data of a cell."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ltbench.contract.context import Rows
from ltbench.contract.track import Asked
from ltbench.tracks.classification import Parts
from ltbench.training.engine import hidden_order, stream_seed


@dataclass(frozen=True)
class Given:
    """What a cell may see as it trains: its rows, and how many classes there are.

    `beside` is what else a track grants.
    """

    train: Rows
    validation: Rows | None
    class_counts: list[int]
    classes: int
    beside: Any = None

    @property
    def parts(self) -> Parts:
        """The rows as parts of a cell without test rows."""
        return Parts(self.train, self.validation, _untold, self.class_counts)

    def __getstate__(self) -> dict[str, Any]:
        """It travels with copies of its rows, and with nothing of what they were chosen from."""
        held = vars(self)
        return {n: _copied(one) if isinstance(one, Rows) else one for n, one in held.items()}


def _untold() -> Rows:
    raise AssertionError("nobody is asked of test rows before training has ended")


def _copied(rows: Rows) -> Rows:
    beside: dict[str, Any] = {name: held.clone() for name, held in rows.beside().items()}
    every = torch.arange(len(rows))
    copied = Rows(rows.inputs_at(every), rows.labels.clone(), categorical=rows.categorical)
    return replace(copied, **beside)


def asked(test: Rows, seed: int, groups: bool = False) -> tuple[Asked, Tensor]:
    """What a cell is asked of test rows, and the place [N] of each of them in that order."""
    order = hidden_order(test.inputs, seed)
    place = order.argsort()
    chance = torch.Generator().manual_seed(stream_seed(seed, "test order"))
    shuffled = place[torch.randperm(len(test), generator=chance)]
    told = test.groups[order] if groups and test.groups is not None else None
    return Asked(test.inputs[order], shuffled, told), place
