"""Diverse experts on a shared trunk (RIDE: Wang et al., ICLR 2021), without the router."""

from typing import Annotated

import torch
from msgspec import Meta

from ltbench import Integer, NonNegative, Share, Uniform, hookimpl
from ltbench.toolbox import with_experts
from ltbench_plugins.margins.ldam import LDAM
from ltbench_plugins.tables.class_weights import effective_number, scaled


class RIDE(LDAM):
    """Trains each expert with LDAM's margins, and pushes it away from the experts' mean.

    Each loss is less `diversity` * T^2 * KL(expert || mean), and no gradient goes through the
    mean. From `start` of the training on, weights by effective number come in, and frequent
    classes get a higher temperature, by `evenness` of their share. This is the direction of the
    paper, which compares pairs of experts; its code, which takes the mean instead and from which
    the defaults are, has KL(mean || expert). Of the paper's two stages this is the first: all
    experts always answer, none is left out by a router.
    """

    name = "ride"
    reference = "arXiv:2010.01809"
    corrects = "prior"
    # two to four experts, as the paper
    space = {"experts": Integer(2, 4), "diversity": Uniform(0.0, 0.5)}

    def __init__(
        self,
        experts: Annotated[int, Meta(ge=1)] = 3,
        diversity: NonNegative = 0.2,
        evenness: Share = 0.05,
        max_margin: NonNegative = 0.5,
        scale: Annotated[float, Meta(gt=0)] = 30.0,
        beta: Share = 0.9999,
        start: Share = 0.8,
    ):
        super().__init__(max_margin, scale)
        self.experts = experts
        self.diversity = diversity
        self.evenness = evenness
        self.beta = beta
        self.start = start

    def build(self, model, run):
        if self.experts == 1:
            return super().build(model, run)
        return with_experts(model, self.experts, self.scale, run)

    def prepare(self, run):
        super().prepare(run)
        n_c = run.seen * run.counts.sum()
        self.weights = scaled(1 / effective_number(n_c, self.beta))
        temperature = 1 + self.evenness * (run.num_classes * run.counts / run.counts.sum() - 1)
        self.temperature = temperature / temperature.max()

    def weight(self, labels, run):
        weight = self.weights[labels]
        return torch.where(run.progress < self.start, torch.ones_like(weight), weight)

    def extra(self, output, batch, run):
        if self.diversity == 0:
            return None
        late = run.progress >= self.start
        temperature = torch.where(late, self.temperature, torch.ones_like(self.temperature))
        scores = torch.stack(output.heads)[:, : len(batch.rows)]
        mean = (scores.detach().mean(0) / temperature).log_softmax(-1)
        expert = (scores / temperature).log_softmax(-1)
        divergence = (expert.exp() * (expert - mean)).sum(-1).mean(-1).sum()
        return -self.diversity * temperature.mean() ** 2 * divergence


@hookimpl
def register_methods(register):
    register(RIDE)
