"""What learning from a pool asks of methods beyond the contract of all, and grants them."""

from dataclasses import dataclass

from torch import Tensor

from ltbench.contract.context import Grants, Output, Run
from ltbench.contract.method import Method, Rule, hook, one
from ltbench.contract.recipes import total
from ltbench.tracks.semi.strong import strongly

POOL = "pool"
"""What a method needs that learns from rows without labels, `run.granted.pool`."""

POOL_LABELS = "pool_labels"
"""What a method needs that is a bound: it is told the labels of the pool."""


class SemiSupervised(Method):
    """A method with the hooks that this track adds; any other method joins it in a recipe."""

    @hook(Rule(many=True, training=True, through=True))
    def believe(self, probabilities: Tensor, rows: Tensor, run: Run) -> Tensor:
        """What pseudo-labels are made of: probabilities [M, C] of the pool's rows [M].

        Those given are of the network, through the methods before. A method that makes
        pseudo-labels asks for this with `run.recipe.believe`.
        """
        return probabilities

    @hook(Rule(many=True, training=True, join=total))
    def unlabelled_loss(
        self, weak: Output, strong: Output, rows: Tensor, run: Run
    ) -> Tensor | None:
        """A scalar added to the loss: what the pool's rows [M] teach in this step.

        `weak` is what the network puts out for the protocol's view of them, without gradient,
        `strong` for the strong view.
        """
        return None

    @hook(one("tell rows of unknown classes"))
    def opened(self, output: Output, run: Run) -> Tensor | None:
        """Shares [N, C + 1] of each known class, and of none of them, once training has ended.

        Asked where the pool has unknown classes. Without an owner a row is as unknown as its
        likeliest class is unlikely.
        """
        return None


@dataclass(frozen=True, kw_only=True)
class SemiGrants(Grants):
    """What the track grants: the stored inputs of the `pool` [M, ...], in an order that tells
    nothing, `ratio` of which a step takes for each labelled row, and their `view`.

    `labels` [M] are there for a method that needs them alone; -1 is a class that is not known.
    """

    pool: Tensor
    ratio: float
    view: str
    labels: Tensor | None = None

    def strong(self, inputs: Tensor, run: Run) -> Tensor:
        """A strong view of stored inputs, as the network takes it; another at each call."""
        return strongly(self.view, inputs, run.views, run.rng)


def pool_of(run: Run) -> Tensor | None:
    """The stored inputs of the pool; None outside of a track that grants one."""
    return getattr(run.granted, "pool", None)


def room(run: Run) -> int:
    """How many rows a table of the pool has; one outside of a track that grants a pool."""
    pool = pool_of(run)
    return 1 if pool is None else len(pool)
