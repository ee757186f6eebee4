"""What numbers as targets ask of methods beyond the contract of all, and grant them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ltbench.contract.context import Grants, Run
from ltbench.contract.method import Method, hook, one

VALUES = "values"
"""What a method needs that learns from the number of each row, in place of a class."""

SLACK = 1e-5  # of a bin, by which rounding may carry a value across its lower edge


class Regression(Method):
    """A method whose hooks are given values [N], float, in the place of labels.

    Values are standardised: over training rows their mean is 0 and their deviation 1, so
    parameters of methods that are lengths are in deviations. `scores` are [N, 1], what the network
    says of them. Plain training has the absolute error.
    """

    needs = frozenset({VALUES})

    @hook(one("decide the criterion", training=True))
    def criterion(self, scores: Tensor, labels: Tensor, run: Run) -> Tensor:
        """The loss of each row [N]; `labels` [N] are values, `scores` [N, 1] adjusted."""
        return (said(scores) - labels).abs()


@dataclass(frozen=True, kw_only=True)
class ValueGrants(Grants):
    """What the track grants: how values are standardised, and the `edges` [B + 1] of their bins.

    Edges are in the unit of the protocol and equally far apart; `mean` and `deviation`, in the same
    unit, are those of the training rows. `run.counts` [B] are rows of bins.
    """

    edges: Tensor
    mean: float
    deviation: float

    @property
    def centres(self) -> Tensor:
        """The middle of each bin [B], standardised."""
        return ((self.edges[1:] + self.edges[:-1]) / 2 - self.mean) / self.deviation

    @property
    def width(self) -> float:
        """How wide a bin is, in deviations."""
        return float(self.edges[1] - self.edges[0]) / self.deviation

    def bins(self, values: Tensor) -> Tensor:
        """The bin [N], int64, of standardised values [N]; the last takes all above, the first all
        below."""
        return binned(values.double() * self.deviation + self.mean, self.edges)


def binned(values: Tensor, edges: Tensor) -> Tensor:
    """The bin [N] of values [N] in the unit of the edges [B + 1]; a bin holds its lower edge."""
    edges = edges.double()
    inner = edges[1:-1] - SLACK * (edges[1] - edges[0])
    return torch.bucketize(values.double(), inner, right=True)


def said(scores: Tensor) -> Tensor:
    """The value [N] that the scores [N, 1] of a network say."""
    return scores.squeeze(1)
