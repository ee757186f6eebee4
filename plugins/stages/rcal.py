"""Representation calibration for noisy labels with a long tail (RCAL: Zhang et al., ICCV 2023)."""

import math
from dataclasses import replace
from typing import Annotated

import torch
import torch.nn.functional as F
from msgspec import Meta
from sklearn.neighbors import LocalOutlierFactor
from torch import nn

from ltbench import (
    LogUniform,
    LTBenchError,
    Method,
    NonNegative,
    Positive,
    Share,
    Uniform,
    hookimpl,
)
from ltbench.toolbox import info_nce, view_of
from ltbench_plugins.stages.ssp import WIDTH

LARGEST = 2**28  # numbers in the covariances of all classes, a gigabyte
NO_CLASS = -100  # a label that the cross-entropy passes over


class RCAL(Method):
    """Learns features without labels, then a classifier that labels cannot lead far from them.

    After the contrastive phase each class gets a Gaussian of its rows' features, less those that
    the local outlier factor finds. The classes below the mean size take a part 1 - `trust` of
    mean and covariance from the `similar` nearest others. The second phase trains on rows mixed
    in pairs, on as many features drawn from the Gaussians, all classes alike, and on `pull` times
    the squared distance from the features of the first phase, in units of their mean square.

    The paper's are these parts; its constants were not to be had, so the defaults are ours, and so
    are the negatives from the batch (the paper's MoCo has a queue), the noise for a second view
    where the protocol augments nothing, the cut between head and tail, and the equal weights of
    similar classes. `share` is the length of the first phase in main ones: 1 doubles the epochs.
    """

    name = "rcal"
    reference = "arXiv:2211.10955"
    roles = ("contrast", "main")
    corrects = "prior"
    space = {"temperature": LogUniform(0.05, 1.0), "noise": Uniform(0.0, 1.0)}

    def __init__(
        self,
        share: Positive = 1.0,
        temperature: Positive = 0.2,
        noise: NonNegative = 0.5,
        similar: Annotated[int, Meta(ge=1)] = 3,
        trust: Share = 0.9,
        pull: NonNegative = 1.0,
        alpha: NonNegative = 1.0,
    ):
        self.share = share
        self.temperature = temperature
        self.noise = noise
        self.similar = similar
        self.trust = trust
        self.pull = pull
        self.alpha = alpha

    def build(self, model, run):
        width = model.head.in_features
        if run.num_classes * width**2 > LARGEST:
            raise LTBenchError(
                f"rcal keeps a covariance of each class; {run.num_classes} classes with {width} "
                "features are too many"
            )
        model.projector = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, WIDTH))
        model.memory = Memory(run.num_classes, width)
        return model

    def phases(self, plan, run):
        at = next(k for k, phase in enumerate(plan) if phase.role == "main")
        main = plan[at]
        epochs = max(1, round(self.share * main.epochs))
        contrast = replace(main, role="contrast", epochs=epochs)
        return [*plan[:at], contrast, replace(main, reset="head"), *plan[at + 1 :]]

    def enter(self, train, run):
        memory = run.model.memory
        if run.phase.role == "main" and len(memory.initial) == 0:  # else the run was resumed
            features = run.features(train.inputs.to(run.device))
            # a class without rows has no Gaussian
            classes, labels = train.labels.to(run.device).unique(return_inverse=True)
            memory.initial = features
            means, covariances = gaussians(features, labels, typical(features, labels))
            borrowed = calibrated(means, covariances, labels.bincount(), self.similar, self.trust)
            memory.means[classes], memory.factors[classes] = borrowed[0], factors(borrowed[1])
        return train

    def batch(self, batch, run):
        x = batch.inputs
        if run.train is None:
            return batch  # outside of training there are no stored rows
        if run.phase.role == "contrast":
            stored = run.train.inputs[batch.rows]
            views = [view_of(stored, run, self.noise) for _ in "12"]
            return replace(batch, inputs=torch.cat(views))
        self.drawn = run.model.memory.draw(len(batch.rows), run.rng)  # for all gradients of a step
        if self.alpha == 0:
            return batch
        both = torch.full((2,), self.alpha, device=x.device)
        share = torch._sample_dirichlet(both, generator=run.rng)[0]
        # the batch is in random order, so its reverse makes pairs that `extra` finds again
        return replace(
            batch,
            inputs=torch.lerp(x.flip(0), x, share),
            targets=[
                (labels if own else labels.flip(0), part * of)
                for labels, of in batch.targets
                for own, part in ((True, share), (False, 1 - share))
            ],
            groups=tuple(g for own in batch.groups for g in (own, own.flip(0))),
        )

    def adjust(self, scores, labels, run):
        return torch.zeros_like(scores) if run.phase.role == "contrast" else scores

    def extra(self, output, batch, run):
        if run.train is None:
            return None
        if run.phase.role == "contrast":
            n = len(batch.rows)
            partners = torch.arange(n, 2 * n, device=batch.rows.device)
            z = F.normalize(run.model.projector(output.features))
            return info_nce(z, partners, self.temperature)
        if len(batch.targets) > 1 + (self.alpha > 0):
            raise LTBenchError("rcal mixes rows itself, so no other method of a recipe can")
        memory, share = run.model.memory, batch.targets[0][1]
        drawn, labels = self.drawn
        labels = labels.masked_fill(run.exact_counts[labels] == 0, NO_CLASS)
        initial = memory.initial[batch.rows]
        if self.alpha > 0:
            initial = torch.lerp(initial.flip(0), initial, share)
        away = (output.features[: len(initial)] - initial).square().mean()
        return F.cross_entropy(run.model.head(drawn), labels) + self.pull * away / memory.square()

    def finish(self, model, validation, run):
        del model.projector, model.memory
        return model


class Memory(nn.Module):
    """The features of the first phase, and each class's Gaussian there; empty until it ends."""

    def __init__(self, num_classes, width):
        super().__init__()
        self.register_buffer("initial", torch.empty(0, width))
        self.register_buffer("means", torch.zeros(num_classes, width))
        self.register_buffer("factors", torch.zeros(num_classes, width, width))

    def _load_from_state_dict(self, state, prefix, *rest):
        self.initial = torch.empty_like(state[f"{prefix}initial"], device=self.means.device)
        super()._load_from_state_dict(state, prefix, *rest)

    def draw(self, rows, rng):
        """At least that many features, equally many of each class, and their labels."""
        num_classes, width = self.means.shape
        each = math.ceil(rows / num_classes)
        size = (num_classes, each, width)
        normal = torch.randn(size, generator=rng, dtype=self.means.dtype, device=rng.device)
        drawn = self.means[:, None] + normal @ self.factors.mT
        labels = torch.arange(num_classes, device=rng.device).repeat_interleave(each)
        return drawn.flatten(0, 1), labels

    def square(self):
        return self.initial.square().mean().clamp(min=torch.finfo(self.initial.dtype).tiny)


def typical(features, labels, neighbours=20):
    """Which rows [N] the local outlier factor, class by class, does not find to be outliers."""
    keep = torch.ones_like(labels, dtype=torch.bool)
    for c in labels.unique():
        rows = (labels == c).nonzero()[:, 0]
        if len(rows) > 2:
            factor = LocalOutlierFactor(n_neighbors=min(neighbours, len(rows) - 1))
            inside = factor.fit_predict(features[rows].cpu().numpy()) > 0
            keep[rows] = torch.from_numpy(inside).to(keep.device)
    return keep


def gaussians(features, labels, keep):
    """The mean [C, D] and covariance [C, D, D] of each class's rows that are kept."""
    means, covariances = [], []
    for c in range(int(labels.max()) + 1):
        own = features[(labels == c) & keep]
        means.append(own.mean(0))
        centred = own - means[-1]
        covariances.append(centred.T @ centred / max(1, len(own) - 1))
    return torch.stack(means), torch.stack(covariances)


def calibrated(means, covariances, n_c, similar, trust):
    """The Gaussians, in which classes below the mean size borrow from the nearest others."""
    head = n_c >= n_c.double().mean()
    distance = torch.cdist(means, means[head])
    nearest = distance.topk(min(similar, int(head.sum())), largest=False).indices  # [C, q]
    own = torch.where(head, 1.0, trust).to(means.dtype)
    return (
        torch.lerp(means[head][nearest].mean(1), means, own[:, None]),
        torch.lerp(covariances[head][nearest].mean(1), covariances, own[:, None, None]),
    )


def factors(covariances):
    """A square root [C, D, D] of each covariance, whatever its rank."""
    values, vectors = torch.linalg.eigh(covariances)
    return vectors * values.clamp(min=0).sqrt()[:, None]


@hookimpl
def register_methods(register):
    register(RCAL)
