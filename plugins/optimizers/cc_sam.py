"""Class-conditional SAM: a radius of its own for each class (CC-SAM: Zhou et al., CVPR 2023)."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from ltbench import LTBenchError, Method, NonNegative, Share, Uniform, hookimpl


class CCSAM(Method):
    """Trains under classifiers perturbed for each class, then the classifier on perturbed features.

    First stage: `ratio` of the loss scores each row by a classifier of its class, whose weight
    and bias are moved rho_c sqrt(K) up the gradient g_c of the class's mean loss in each, where
    rho_c = noise sqrt(|w|) / (sqrt(2 |g_c|) ((n_c - 1) K)^(1/4)) for K parameters of norm |w|.
    Second stage, `share` times as long at a tenth of the rate: features are frozen, classes drawn
    equally, and a part of the loss that grows up to `limit` moves the features of class c by w_c
    up that class's gradient and counts w_c times, where w_c = log(n_max / n_c + 0.01) / 2.

    Defaults of the paper's code for CIFAR-10 (CIFAR-100: ratio 0.5, limit 0.3), where the first
    stage mixes rows, too: `mixup+cc-sam`. At its noise of 1e-6 the first stage is all but plain.
    Unlike the code, a class of one row takes the radius of one of two, and gradients below 1e-6
    count as 1e-6, for the formula is infinite there; BatchNorm is still in the second stage, which
    starts from the last epoch. To a loss that other methods change, the rise of plain
    cross-entropy is added.
    """

    name = "cc-sam"
    reference = "CVPR 2023, Zhou et al."
    roles = ("main", "head")
    corrects = "prior"
    neutral = {"ratio": 0.0, "share": 0.0}
    space = {"ratio": Uniform(0.1, 0.9)}

    def __init__(
        self,
        noise: NonNegative = 1e-6,
        ratio: Share = 0.3,
        share: Share = 0.15,
        limit: Share = 1.0,
    ):
        self.noise = noise
        self.ratio = ratio
        self.share = share
        self.limit = limit

    def phases(self, plan, run):
        if self.share == 0:
            return plan
        last = plan[-1]
        stage = {"epochs": max(1, round(self.share * last.epochs)), "lr": last.lr / 10}
        return [*plan, replace(last, role="head", learn="head", frozen_bn=True, **stage)]

    def sampling_weights(self, labels, run):
        return None if run.phase.role == "main" else (1 / labels.bincount())[labels]

    def prepare(self, run):
        self.radius = self.noise / 2**0.5 * (run.counts - 1).clamp(min=1) ** -0.25
        self.strength = (run.counts.max() / run.counts + 0.01).log() / 2

    def extra(self, output, batch, run):
        if run.model is None:
            return None  # scores alone, as in a probe: there is no classifier to perturb
        head = run.model.head
        if not isinstance(head, nn.Linear):
            raise LTBenchError(
                f"cc-sam perturbs a linear head; it cannot perturb {type(head).__name__}"
            )
        rows = len(batch.rows)
        scores, features = output.heads[0][:rows], output.features[:rows]
        labels = batch.targets[0][0]  # mixed rows go by their first label, as in the code
        loss = sum(
            share * F.cross_entropy(scores, y, reduction="none") for y, share in batch.targets
        )
        hits = sum(
            F.one_hot(y, run.num_classes) * torch.as_tensor(share, device=y.device).reshape(-1, 1)
            for y, share in batch.targets
        )
        slopes = scores.detach().softmax(1) - hits  # of each row's loss in its scores
        if run.phase.role == "main":
            moved = self.by_moved_classifiers(scores, features, slopes, labels, head)
            return self.ratio * (F.cross_entropy(moved, labels) - loss.mean())
        strength = self.strength[labels]
        moved = head(features + strength[:, None] * uphill(slopes, labels, head))
        raised = strength * F.cross_entropy(moved, labels, reduction="none")
        return run.progress.clamp(max=self.limit) * (raised - loss).mean()

    def by_moved_classifiers(self, scores, features, slopes, labels, head):
        """Scores [N, C] of each row by the classifier of its class.

        A class's gradient is a sum of products, slope times feature, over its rows, so that its
        norm and the scores it adds follow from inner products of rows: no classifier is formed.
        """
        same = same_class(labels, scores.dtype)
        mean = same / same.sum(1, keepdim=True)
        inner = {"weight": features @ features.detach().T, "bias": torch.ones_like(same)}
        parameters = dict(head.named_parameters())
        size = sum(p.numel() for p in parameters.values())
        length = torch.stack([p.detach().norm() for p in parameters.values()]).norm()
        for name in parameters:
            products = (slopes @ slopes.T) * inner[name].detach()
            squares = ((mean @ products) * mean).sum(1)
            norm = squares.clamp(min=1e-12).sqrt()
            rho = self.radius[labels] * (length / norm * size**0.5).sqrt()
            scores = scores + (rho / norm)[:, None] * ((mean * inner[name]) @ slopes)
        return scores


def uphill(slopes, labels, head):
    """Directions [N, D] up the loss of each class; the rows of a class have length one together."""
    way = slopes @ head.weight.detach()
    squares = same_class(labels, way.dtype) @ way.square().sum(1)
    return way / squares.sqrt().clamp(min=1e-12)[:, None]


def same_class(labels, dtype):
    """One [N, N] where two rows share a class, zero elsewhere."""
    return (labels[:, None] == labels).to(dtype)


@hookimpl
def register_methods(register):
    register(CCSAM)
