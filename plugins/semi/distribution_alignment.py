"""Distribution alignment: pseudo-labels in the shares of labelled rows (ReMixMatch, CReST+)."""

import torch

from ltbench import NonNegative, hookimpl
from ltbench.tracks.semi.contract import POOL, SemiSupervised

STEPS = 128  # of which predictions are remembered
EPS = 1e-6


class DistributionAlignment(SemiSupervised):
    """Beliefs times (target / mean of what was predicted lately), each row brought back to sum 1.

    The target is the labelled share of each class to the power of a temperature, which goes from
    `start` to `end` in a line over the training; 1 is the labelled share, 0 all classes alike. In
    CReST+ the temperature falls from generation to generation, and in ReMixMatch it is 1. It is of
    the labelled rows, so it is wrong by design where the pool is not.
    """

    name = "distribution-alignment"
    reference = "arXiv:1911.09785"
    needs = frozenset({POOL})

    def __init__(self, start: NonNegative = 1.0, end: NonNegative = 0.5):
        self.start, self.end = start, end

    def build(self, model, run):
        remember(model, "alignment", run)
        return model

    def believe(self, probabilities, rows, run):
        temperature = self.start + (self.end - self.start) * run.progress
        target = softened(run.counts, temperature)
        return aligned(probabilities, target, *remembered(run.model, "alignment"))


def softened(counts, temperature):
    """The shares [C] of classes to a power, of sum 1."""
    target = (counts / counts.sum()) ** temperature
    return target / target.sum()


def remember(model, name, run):
    """Gives a network the table of what it predicted lately."""
    means = run.counts.new_zeros(STEPS, run.num_classes)
    model.register_buffer(f"{name}_means", means)
    model.register_buffer(f"{name}_steps", torch.zeros((), dtype=torch.long, device=run.device))


def remembered(model, name):
    return model.get_buffer(f"{name}_means"), model.get_buffer(f"{name}_steps")


def aligned(probabilities, target, means, steps):
    """Probabilities [M, C] aligned to a target [C], once their mean is in the table `means`.

    The mean is over the rows of the last steps, this one among them.
    """
    means.index_copy_(0, (steps % len(means))[None], probabilities.mean(dim=0, keepdim=True))
    steps += 1
    mean = means.sum(dim=0) / steps.clamp(max=len(means))
    moved = probabilities * (target + EPS) / (mean + EPS)
    return moved / moved.sum(dim=1, keepdim=True)


@hookimpl
def register_methods(register):
    register(DistributionAlignment)
