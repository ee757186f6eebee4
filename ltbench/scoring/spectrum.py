"""How evenly the singular values of a matrix stand."""

import torch
from torch import Tensor


def evenness(matrix: Tensor) -> float:
    """exp(H) / r of a matrix [m, n] that is not nothing, in float64.

    H is the entropy of the squared singular values as shares of their sum, r the smaller of m and
    n: 1 where all are alike, 1 / r where there is but one.
    """
    squared = torch.linalg.svdvals(matrix.double()).square()
    shares = squared / squared.sum()
    return float(torch.special.entr(shares).sum().exp()) / min(matrix.shape)
