"""Virtual features of LMD: a head trained on Gaussians of each class (Pan et al., 2025)."""

import math
from dataclasses import replace
from typing import Annotated

import torch
from msgspec import Meta

from ltbench import LogUniform, Method, NonNegative, Rows, Share, hookimpl


class LMD(Method):
    """Trains plainly, then a new head on features drawn from a Gaussian for each class.

    A class's Gaussian has the mean and covariance of its features, plus `ridge` on the diagonal,
    all that a class of one row has. Up to `virtual` features a class are drawn, 50,000 as in the
    code, but no more than the stage presents. This is the virtual feature compensation of LMD
    alone: its first stage, with distillation from a moving average of the network, is left out,
    and so is the tuning of the backbone that takes turns with the head's. The length of the
    second stage, as long as that of `crt`, is our choice, its learning rate the protocol's.
    """

    name = "lmd"
    reference = "arXiv:2502.03238"
    roles = ("head",)
    corrects = "prior"
    space = {"ridge": LogUniform(0.001, 1.0)}

    def __init__(
        self,
        virtual: Annotated[int, Meta(ge=1)] = 50_000,
        ridge: NonNegative = 0.01,
        share: Share = 1 / 9,
    ):
        self.virtual = virtual
        self.ridge = ridge
        self.share = share

    def phases(self, plan, run):
        epochs = max(1, round(self.share * plan[-1].epochs))
        stage = {"epochs": epochs, "learn": "head", "reset": "head", "frozen_bn": True}
        return [*plan, replace(plan[-1], role="head", on_features=True, **stage)]

    def enter(self, train, run):
        features = run.features(train.inputs)
        presented = math.ceil(run.phase.epochs * int(run.counts.sum()) / run.num_classes)
        size = min(self.virtual, presented)
        classes = train.labels.unique()  # one without rows has no Gaussian
        drawn = [gaussian(features[train.labels == c], size, self.ridge, run.rng) for c in classes]
        return Rows(torch.cat(drawn), classes.repeat_interleave(size))


def gaussian(rows, size, ridge, rng):
    """Draws [size, D] from the mean and covariance of rows [n, D], plus `ridge` times identity.

    The triangular factor of the centred rows has their covariance, with at most D rows of its own.
    """
    mean = rows.mean(dim=0)
    factor = torch.linalg.qr(rows - mean, mode="r").R / max(len(rows) - 1, 1) ** 0.5
    options = {"generator": rng, "dtype": rows.dtype, "device": rows.device}
    spread = torch.randn(size, len(factor), **options) @ factor
    return mean + spread + ridge**0.5 * torch.randn(spread.shape, **options)


@hookimpl
def register_methods(register):
    register(LMD)
