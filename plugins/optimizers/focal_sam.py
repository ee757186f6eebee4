"""Focal-SAM: every class's loss flattened in part, a rare class's most (Li et al., ICML 2025)."""

from ltbench import LogUniform, NonNegative, Positive, Uniform, hookimpl
from ltbench_plugins.optimizers.imbsam import ImbSAM


class FocalSAM(ImbSAM):
    """Takes the part k_c = strength * (1 - n_c / n)^gamma of class c's loss uphill, by `rho`.

    The rest, 1 - k_c, keeps its gradient at the weights themselves: plain training plus the
    rise of the k-weighted loss, `strength` being the paper's lambda. The way up is that loss's
    gradient. The defaults are those of the paper's code for CIFAR-10, which adds the log prior
    to the scores: that is `logit-adjustment+focal-sam`. Three passes a step.
    """

    name = "focal-sam"
    reference = "arXiv:2505.01660"
    space = {"rho": LogUniform(0.05, 0.5), "gamma": Uniform(0.5, 5.0)}

    def __init__(self, rho: Positive = 0.2, gamma: NonNegative = 3.0, strength: NonNegative = 0.5):
        self.rho = rho
        self.gamma = gamma
        self.strength = strength

    def prepare(self, run):
        self.flattened = self.strength * (1 - run.counts / run.counts.sum()) ** self.gamma


@hookimpl
def register_methods(register):
    register(FocalSAM)
