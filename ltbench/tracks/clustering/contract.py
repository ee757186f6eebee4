"""What clustering asks of methods beyond the contract of all, and grants them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ltbench.contract.context import Grants, Output, Run
from ltbench.contract.method import Method, Rule, hook
from ltbench.contract.recipes import total

POOL = "rows_to_cluster"
"""What a method needs that puts rows into clusters, `run.granted.pool`."""

UNKNOWN = -1  # the label of a row that nobody is told


class Clustering(Method):
    """A method with the hook that this track adds; any other method may join it in a recipe."""

    @hook(Rule(many=True, training=True, join=total))
    def unlabelled_loss(
        self, first: Output, second: Output, rows: Tensor, run: Run
    ) -> Tensor | None:
        """A scalar added to the loss: what rows [M] of the pool teach in this step.

        `first` and `second` are what the network puts out for two views of them, with gradient. The
        labels of these rows, where they have any, are `run.granted.labels[rows]`.
        """
        return None


@dataclass(frozen=True, kw_only=True)
class ClusteringGrants(Grants):
    """What the track grants: the inputs of all rows, the `pool` [M, ...], in an order that tells
    nothing; their `labels` [M], -1 for each that is not told; and `views` [V, M, ...] of them.

    Known classes have the first labels. A step takes `rows` of the pool.
    """

    pool: Tensor
    labels: Tensor
    views: Tensor
    rows: int

    @property
    def told(self) -> bool:
        """Whether any row has a label."""
        return bool((self.labels != UNKNOWN).any())

    def drawn(self, chance: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """The rows [M] of a step, and two different stored views of each."""
        number, count, device = len(self.pool), len(self.views), self.pool.device
        rows = torch.arange(number, device=device)
        if self.rows < number:
            rows = torch.randperm(number, generator=chance, device=device)[: self.rows]
        first = torch.randint(count, rows.shape, generator=chance, device=device)
        other = torch.randint(1, count, rows.shape, generator=chance, device=device)
        return rows, self.views[first, rows], self.views[(first + other) % count, rows]


def pool_of(run: Run) -> Tensor | None:
    """The inputs of the pool; None outside of a track that grants one."""
    return getattr(run.granted, "pool", None)
