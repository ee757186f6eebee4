"""Diverse experts on a shared trunk (RIDE: Wang et al., ICLR 2021), without the router."""

from typing import Annotated

import torch
from msgspec import Meta
from torch import nn

from ltbench import CosineHead, Integer, LTBenchError, NonNegative, Share, Uniform, hookimpl
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


class Experts(nn.Module):
    """Branches side by side on one trunk; their features stand one after the other."""

    def __init__(self, branches):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class Heads(nn.Module):
    """A cosine head for each expert, on its own part of the features [N, D]."""

    def __init__(self, widths, num_classes, scale):
        super().__init__()
        self.in_features, self.widths = sum(widths), widths
        self.experts = nn.ModuleList(CosineHead(width, num_classes, scale) for width in widths)

    def forward(self, features):
        parts = features.split(self.widths, dim=1)
        return tuple(head(part) for head, part in zip(self.experts, parts, strict=True))


def with_experts(model, experts, scale, run, share=0.75):
    """The network with that many new branches, each with a `share` of the channels (the code's)."""
    if not hasattr(model, "new_branch"):
        raise LTBenchError(f"{type(model).__name__} has no branches, so it cannot have experts")
    parts = {name.partition(".")[0] for name in model.state_dict()}
    if parts - {"trunk", "branch", "head"} or not isinstance(model.head, nn.Linear):
        raise LTBenchError("experts change what other methods build on; name them first")
    before = sum(p.numel() for p in model.parameters())
    branches, widths = zip(*(model.new_branch(share) for _ in range(experts)), strict=True)
    model.branch = Experts(branches)
    model.head = Heads(list(widths), run.num_classes, scale)
    times = sum(p.numel() for p in model.parameters()) / before
    run.note(f"{experts} experts have {times:.2f} times the parameters of the plain network")
    return model


@hookimpl
def register_methods(register):
    register(RIDE)
