"""A network of bags: that of instances, and what makes one vector of the instances of a bag.

A bag is a row [L, ...] of L places. A place without an instance is NaN throughout, so that whatever
goes with the rows, views, portions or features of a later phase, knows which they are, and whatever
reads them by mistake gives no number.
"""

import torch
from torch import Tensor, nn


class Pool(nn.Module):
    """Makes a vector of the instances of a bag: their mean, weighed by `weights`.

    `h` [N, L, D] are features of instances, 0 where a place is not `filled` [N, L].
    """

    def weights(self, h: Tensor, filled: Tensor) -> Tensor:
        """How much each instance counts [N, L]: sums to 1, and 0 where a place is not filled."""
        raise NotImplementedError

    def forward(self, h: Tensor, filled: Tensor) -> Tensor:
        return torch.einsum("nl,nld->nd", self.weights(h, filled), h)


class Mean(Pool):
    """Every instance counts the same."""

    def weights(self, h: Tensor, filled: Tensor) -> Tensor:
        return filled.to(h) / filled.sum(dim=1, keepdim=True)


class Pooled(nn.Module):
    """A network that takes bags [N, L, ...], made of one that takes instances, whose head it has.

    With one instance in a bag it is that network, whatever the pool, as the weight of that is 1.
    """

    def __init__(self, instances: nn.Module) -> None:
        super().__init__()
        self.head = instances.get_submodule("head")
        instances.head = nn.Identity()
        self.instances, self.pool = instances, Mean()
        self.width = int(self.head.in_features)  # type: ignore[arg-type]

    def each(self, x: Tensor, filled: Tensor) -> Tensor:
        """The features [N, L, D] of instances; those that are not there are 0, and in no batch."""
        found: Tensor = self.instances.features(x[filled])  # type: ignore[operator]
        h = found.new_zeros(*filled.shape, found.shape[1])
        h[filled] = found
        return h

    def features(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The features [N, D] of bags, filled where a `mask` [N, L] says so, else where not NaN."""
        filled = filled_in(x) if mask is None else mask
        out: Tensor = self.pool(self.each(x, filled), filled)
        return out

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        scores: Tensor = self.head(self.features(x, mask))
        return scores

    def attention(self, x: Tensor) -> Tensor:
        """How much each instance of bags counts [N, L]."""
        filled = filled_in(x)
        weights: Tensor = self.pool.weights(self.each(x, filled), filled)
        return weights


def filled_in(bags: Tensor) -> Tensor:
    """Which places [N, L] of bags [N, L, ...] hold an instance."""
    return ~bags.flatten(2)[..., 0].isnan()


def pooled_in(model: nn.Module) -> Pooled | None:
    """The network of bags within what methods made of it, if it has a pool that weighs."""
    for module in model.modules():
        if isinstance(module, Pooled) and hasattr(module.pool, "weights"):
            return module
    return None
