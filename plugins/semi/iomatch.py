"""IOMatch: rows of unknown classes in the pool are told apart, not left out (Li et al., 2023)."""

from typing import Literal

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ltbench import NonNegative, Share, hookimpl
from ltbench.tracks.semi.contract import POOL, SemiSupervised
from ltbench_plugins.semi.distribution_alignment import aligned, remember, remembered, softened


class IOMatch(SemiSupervised):
    """A head of K classes decides; beside it K pairs tell "is k" from "is not", and an open head
    has a class more, for what is none of the known ones.

    A row's beliefs p are brought to classes `align`: alike as in the paper, or to the labelled
    shares, which a long tail asks for. It is unknown as far as sum_k p_k r_k, where r_k is that it
    is not k. Rows of which p reaches the `threshold` and that less than `unknown` teach their soft
    label; all whose open target (p_k (1 - r_k), and what is left) reaches `unknown` teach the open
    head from the share `warmup` of the training on. Labelled rows teach the pairs, of the others
    the likeliest one. The open head tells which test rows are of unknown classes, where a protocol
    has such.
    """

    name = "iomatch"
    reference = "arXiv:2308.13168"
    needs = frozenset({POOL})

    def __init__(
        self,
        align: Literal["uniform", "labelled"] = "uniform",
        threshold: NonNegative = 0.95,
        unknown: Share = 0.5,
        warmup: Share = 0.01,
    ):
        self.align, self.threshold, self.unknown, self.warmup = align, threshold, unknown, warmup

    def build(self, model, run):
        model.head = OpenHead(model.head, run.num_classes)
        remember(model, "iomatch", run)
        return model

    def extra(self, output, batch, run):
        head = getattr(run.model, "head", None)
        if not isinstance(head, OpenHead):
            return None
        pairs = head.pairs(output.features[: len(batch.rows)])
        return sum((share * of_pairs(pairs, labels)).mean() for labels, share in batch.targets)

    def unlabelled_loss(self, weak, strong, rows, run):
        head, power = run.model.head, 1.0 if self.align == "labelled" else 0.0
        believed = run.recipe.believe(weak.heads[0].softmax(dim=1), rows, run)
        target = softened(run.counts, power)
        believed = aligned(believed, target, *remembered(run.model, "iomatch"))
        told = open_targets(believed, head.pairs(weak.features))
        known = (told[:, -1] < self.unknown) & (believed.max(dim=1).values >= self.threshold)
        loss = (known * cross_entropy(strong.heads[0], believed, reduction="none")).mean()
        sure = (told.max(dim=1).values >= self.unknown) & (run.progress >= self.warmup)
        opened = head.opened(strong.features)
        return loss + (sure * cross_entropy(opened, told, reduction="none")).mean()

    def opened(self, output, run):
        return run.model.head.opened(output.features).softmax(dim=1)


class OpenHead(nn.Module):
    """The head that a recipe trains, and two on a projection beside it."""

    def __init__(self, head, num_classes, width=128):
        super().__init__()
        self.closed, self.in_features = head, head.in_features
        self.projector = nn.Sequential(
            nn.Linear(head.in_features, width), nn.ReLU(), nn.Linear(width, width)
        )
        self.binary = nn.Linear(width, 2 * num_classes, bias=False)
        self.open = nn.Linear(width, num_classes + 1)

    def forward(self, features):
        return self.closed(features)

    def pairs(self, features):
        """Scores [N, 2, C] of not being and of being of each class."""
        return self.binary(self.projector(features)).unflatten(1, (2, -1))

    def opened(self, features):
        return self.open(self.projector(features))


def of_pairs(pairs, labels):
    """The loss [N] of pairs [N, 2, C]: of being its class, and of the likeliest of the others."""
    logs = pairs.log_softmax(dim=1)
    own = labels[:, None]
    others = (-logs[:, 0]).scatter(1, own, -torch.inf)
    return -logs[:, 1].gather(1, own)[:, 0] + others.max(dim=1).values


def open_targets(believed, pairs):
    """Shares [M, C + 1] of each known class, and of none of them, for beliefs [M, C]."""
    is_not, is_one = pairs.softmax(dim=1).unbind(dim=1)
    none = (believed * is_not).sum(dim=1, keepdim=True)
    return torch.cat([believed * is_one, none], dim=1)


@hookimpl
def register_methods(register):
    register(IOMatch)
