"""Weight balancing: large weight decay, then bounded class norms (Alshammari et al., CVPR 2022)."""

import math
from dataclasses import replace
from typing import Annotated, Literal

import torch
from msgspec import Meta
from torch import nn

from ltbench import LogUniform, LTBenchError, Method, NonNegative, Share, hookimpl


class WeightBalancing(Method):
    """Trains with a large weight decay; then tunes the classifier alone under a bound on its norms.

    In the second stage class weights have at most the length min + `threshold` * (max - min) of
    the lengths at its start; longer ones are cut back after each epoch, as in the code, and the
    bias is free. Its loss is the class-balanced cross-entropy of the paper, with `beta`, divided by
    the sum of the weights in the batch; the code takes a binary one on softmax scores, averaged
    over classes too, so that the same `head_decay` weighs more there. Defaults are the code's
    numbers, `share` its 10 epochs after 320, but the rate is the protocol's; with `stages=1` only
    the weight decay of the first is set.
    """

    name = "weight-balancing"
    reference = "arXiv:2203.14197"
    roles = ("head",)
    corrects = "prior"
    space = {"decay": LogUniform(5e-4, 5e-2), "head_decay": LogUniform(0.01, 1.0)}

    def __init__(
        self,
        stages: Literal[1, 2] = 2,
        decay: NonNegative = 5e-3,
        head_decay: NonNegative = 0.1,
        threshold: Share = 0.1,
        beta: Annotated[float, Meta(gt=0, lt=1)] = 0.9999,
        share: Share = 10 / 320,
    ):
        self.stages = stages
        self.decay = decay
        self.head_decay = head_decay
        self.threshold = threshold
        self.beta = beta
        self.share = share

    def build(self, model, run):
        if not isinstance(model.head, nn.Linear):
            raise LTBenchError("weight-balancing bounds the weights of a linear head")
        start = torch.full_like(model.head.weight[0, 0], math.inf)
        model.head.register_buffer("radius", start)
        return model

    def phases(self, plan, run):
        plan = [replace(phase, weight_decay=self.decay) for phase in plan]
        if self.stages == 1:
            return plan
        epochs = max(1, round(self.share * plan[-1].epochs))
        stage = {"epochs": epochs, "weight_decay": self.head_decay, "learn": "head"}
        return [*plan, replace(plan[-1], role="head", reset=None, frozen_bn=True, **stage)]

    def prepare(self, run):
        self.weights = -1 / torch.expm1(run.counts * math.log(self.beta))  # up to a factor
        head = run.model.head
        if head.radius.isinf():  # the first epoch of the stage
            lengths = head.weight.detach().norm(dim=1)
            head.radius.copy_(torch.lerp(lengths.min(), lengths.max(), self.threshold))
        else:
            cut_back(head)

    def weight(self, labels, run):
        return self.weights[labels]

    def finish(self, model, validation, run):
        cut_back(model.head)
        return model


@torch.no_grad()
def cut_back(head):
    """Brings class weights longer than the radius back to it."""
    lengths = head.weight.norm(dim=1, keepdim=True)
    tiny = torch.finfo(lengths.dtype).tiny  # a class of no weight keeps none
    head.weight.mul_((head.radius / lengths.clamp(min=tiny)).clamp(max=1))


@hookimpl
def register_methods(register):
    register(WeightBalancing)
