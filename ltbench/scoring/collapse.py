"""Neural collapse: how features of classes, and the classifier's weights, stand to each other.

Papyan, Han and Donoho, PNAS 2020; under imbalance Fang et al., PNAS 2021, and Dang et al.,
ICML 2023.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize


class Classes:
    """The means of classes that have rows, of features [N, D] with labels [N] out of C classes.

    All is reckoned in float64. `there` [K] are those classes, `means` [K, D] theirs, `centred` the
    means less their own mean, in which each class counts the same.
    """

    def __init__(self, features: Tensor, labels: Tensor, num_classes: int) -> None:
        features = features.double()
        counts = labels.bincount(minlength=num_classes)
        sums = features.new_zeros(num_classes, features.shape[1]).index_add(0, labels, features)
        self.there = counts.nonzero()[:, 0]
        self.means = (sums / counts[:, None])[self.there]
        self.centred = self.means - self.means.mean(dim=0)
        self._spread = features - (sums / counts.clamp(min=1)[:, None])[labels]

    def nc1(self) -> float:
        """tr(W B^+) / K: how features spread within classes (W, over all rows) in units of how the
        means of classes do (B); 0 where the rows of a class are all alike."""
        within = self._spread.T @ self._spread / len(self._spread)
        between = self.centred.T @ self.centred / len(self.there)
        inverse = torch.linalg.pinv(between, hermitian=True)
        return float((within * inverse.T).sum()) / len(self.there)

    def nc2(self) -> float:
        """How far centred means are from a simplex equiangular tight frame."""
        return _from_simplex(self.centred @ self.centred.T)

    def nc3(self, weights: Tensor) -> float:
        """How far the weights [C, D] and the centred means are from one such frame together."""
        return _from_simplex(weights.double()[self.there] @ self.centred.T)

    def nearest(self, features: Tensor) -> Tensor:
        """The class [N] whose mean is nearest to each row of features [N, D]."""
        found: Tensor = self.there[torch.cdist(features.double(), self.means).argmin(dim=1)]
        return found


def _from_simplex(products: Tensor) -> float:
    """How far a matrix [K, K], brought to norm 1, is from (I - 11'/K) / sqrt(K - 1)."""
    classes = len(products)
    ideal = torch.eye(classes, dtype=products.dtype, device=products.device) - 1 / classes
    return float((products / products.norm() - ideal / (classes - 1) ** 0.5).norm())


def mean_cosine(vectors: Tensor) -> float | None:
    """The mean cosine of two different vectors of [K, D]; None with fewer than two."""
    count = len(vectors)
    if count < 2:
        return None
    total = normalize(vectors.double(), dim=1).sum(dim=0).square().sum()
    return (float(total) - count) / (count * (count - 1))
