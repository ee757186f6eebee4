"""Classifiers that a method may put in place of a network's linear head."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench.errors import LTBenchError


def head_weights(model: nn.Module) -> nn.Parameter:
    """The weights [C, D] of a network's head.

    Raises:
        LTBenchError: the head has no such weights, or several heads have.
    """
    weights = getattr(model.head, "weight", None)
    if not isinstance(weights, nn.Parameter) or weights.dim() != 2:
        kind = type(model.head).__name__
        raise LTBenchError(f"the head, {kind}, has no weights of its own for each class")
    return weights


class CosineHead(nn.Module):
    """`scale` times the cosine between features [N, D] and each class's weights [C, D]."""

    def __init__(self, in_features: int, num_classes: int, scale: float) -> None:
        super().__init__()
        self.in_features, self.scale = in_features, scale
        self.weight = nn.Parameter(torch.empty(num_classes, in_features))
        self.bias = None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Directions drawn uniformly in each coordinate, of length one."""
        with torch.no_grad():
            self.weight.copy_(F.normalize(self.weight.uniform_(-1, 1)))

    def forward(self, features: Tensor) -> Tensor:
        return self.scale * F.linear(F.normalize(features), F.normalize(self.weight))
