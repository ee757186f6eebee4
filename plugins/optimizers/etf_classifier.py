"""A fixed simplex-ETF classifier with the dot-regression loss (Yang et al., NeurIPS 2022)."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from ltbench import Method, hookimpl


class ETFClassifier(Method):
    """Fixes class directions at equal angles; features learn to reach their own, and only that.

    Features pass BatchNorm and are brought to length 1, so a score is a cosine m_c . h, and the
    loss is (m_y . h - 1)^2 / 2, with E_W and E_H of the paper at 1 as in its code. A row only
    pulls at its own class, so that rare classes arrive late: the paper trains 200 epochs at rate
    0.1. It mixes rows as well, which is `etf-classifier+mixup`. Scores are cosines without a scale,
    to which log priors do not compare, and there is nothing for a second stage to learn.
    """

    name = "etf-classifier"
    reference = "arXiv:2203.09081"

    def build(self, model, run):
        like = next(model.head.parameters())
        model.head = ETFHead(model.head.in_features, run.num_classes).to(like.dtype)
        if model.head.in_features < run.num_classes:
            run.note(
                f"features of width {model.head.in_features} go through a linear layer to "
                f"{run.num_classes}, in which the frame of directions is built"
            )
        return model

    def criterion(self, scores, labels, run):
        return (scores.gather(1, labels[:, None])[:, 0] - 1) ** 2 / 2


class ETFHead(nn.Module):
    """Cosines between features [N, D] and the columns of `frame`, a fixed buffer.

    The frame is built in as many coordinates as classes; narrower features are first widened by a
    linear layer that learns.
    """

    def __init__(self, in_features, num_classes):
        super().__init__()
        self.in_features = in_features
        width = max(in_features, num_classes)
        self.widen = (
            nn.Identity() if width == in_features else nn.Linear(in_features, width, bias=False)
        )
        self.norm = nn.BatchNorm1d(width)
        self.register_buffer("frame", simplex_frame(width, num_classes))

    def forward(self, features):
        features = self.widen(features)
        if len(features) == 1 and self.norm.training:  # a single row has no statistics of its own
            norm = self.norm
            features = F.batch_norm(
                features, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
            )
        else:
            features = self.norm(features)
        return F.normalize(features) @ self.frame


def simplex_frame(width, num_classes):
    """Unit columns [D, C], any two of which have the cosine -1 / (C - 1); needs D >= C."""
    directions = torch.randn(width, num_classes, dtype=torch.float64)
    orthonormal = torch.linalg.qr(directions).Q
    centred = orthonormal - orthonormal.mean(dim=1, keepdim=True)
    return math.sqrt(num_classes / (num_classes - 1)) * centred


@hookimpl
def register_methods(register):
    register(ETFClassifier)
