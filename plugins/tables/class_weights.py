"""Class weights that fall with a class's rows, from the start or deferred.

Effective numbers: Cui et al., CVPR 2019. Deferring them: Cao et al., NeurIPS 2019.
"""

import math

import torch

from ltbench import Choice, Method, Share, Uniform, hookimpl


class InverseFrequency(Method):
    """Weighs the loss of class c by 1 / n_c; the divisor is the sum of the weights in the batch."""

    name = "inverse-frequency"
    reference = "common practice"
    corrects = "prior"

    def prepare(self, run):
        self.weights = scaled(1 / run.seen)

    def weight(self, labels, run):
        return self.weights[labels]


class SqrtInverseFrequency(InverseFrequency):
    """Weighs the loss of class c by 1 / sqrt(n_c), halfway to inverse frequency."""

    name = "sqrt-inverse-frequency"
    reference = "common practice"

    def prepare(self, run):
        self.weights = scaled(run.seen.rsqrt())


class ClassBalanced(Method):
    """Weighs class c by the inverse of its effective number, (1 - beta^n_c) / (1 - beta).

    beta 0 weighs all classes alike, beta towards 1 by inverse frequency. The divisor is the sum
    of the weights in the batch, as in LDAM-DRW's code; the code of the paper divides by the rows.
    """

    name = "class-balanced"
    reference = "arXiv:1901.05555"
    corrects = "prior"
    neutral = {"beta": 0.0}
    space = {"beta": Choice(0.9, 0.99, 0.999, 0.9999)}  # the paper's

    def __init__(self, beta: Share = 0.9999):
        self.beta = beta

    def prepare(self, run):
        n_c = run.seen * run.counts.sum()
        self.weights = scaled(1 / effective_number(n_c, self.beta))

    def weight(self, labels, run):
        return self.weights[labels]


class DRW(ClassBalanced):
    """Deferred re-weighting: class-balanced weights, but only from `start` of the training on."""

    name = "drw"
    reference = "arXiv:1906.07413"
    neutral = {"start": 1.0}
    space = {"beta": Choice(0.9, 0.99, 0.999, 0.9999), "start": Uniform(0.5, 0.95)}

    def __init__(self, beta: Share = 0.9999, start: Share = 0.8):
        self.beta = beta
        self.start = start

    def weight(self, labels, run):
        weight = super().weight(labels, run)
        return torch.where(run.progress < self.start, torch.ones_like(weight), weight)


def effective_number(n_c, beta):
    if beta in (0, 1):
        return n_c**beta  # the limits
    return -torch.expm1(n_c * math.log(beta)) / (1 - beta)  # 1 - beta**n_c would cancel


def scaled(weights):
    """Weights that sum to the number of classes, so that the learning rate keeps its meaning."""
    return weights * (len(weights) / weights.sum())


@hookimpl
def register_methods(register):
    register(InverseFrequency)
    register(SqrtInverseFrequency)
    register(ClassBalanced)
    register(DRW)
