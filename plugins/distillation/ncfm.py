"""Neural characteristic function matching (NCFM: Wang et al., CVPR 2025)."""

from typing import Literal

import torch
from torch import nn

from ltbench import Share, hookimpl
from ltbench_plugins.distillation.csdm import CSDM, Count
from ltbench_plugins.distillation.distribution_matching import chance


class NCFM(CSDM):
    """Matches characteristic functions by the size of their gaps, with a calibrating step.

    With `sampler` a network of three layers makes the frequencies, a sixteenth as many different
    ones, and learns to make the gap large, at a rate of 0.001 that is our choice; released CIFAR
    configurations leave it off, the paper calls it essential. The paper weighs all classes alike;
    the other directions are `csdm`'s, and the control that tells its weights from the rest. One
    stored image is one training image: the released code stores four shrunken ones in its place.
    Adam moves the pixels.
    """

    name = "ncfm"
    reference = "arXiv:2502.20653"
    origin = None
    kernel, bandwidth, shape, root, balanced_pool = "gaussian", 1.0, 1.5, True, False

    def __init__(
        self,
        direction: Literal["uniform", "tail-phase", "tail-amplitude"] = "uniform",
        head: Share = 0.9,
        tail: Share = 0.1,
        frequencies: Count = 1024,
        calibration: bool = True,
        sampler: bool = False,
    ):
        self.direction = direction
        self.head = head
        self.tail = tail
        self.frequencies = frequencies
        self.calibration = calibration
        self.sampler = sampler

    def resample(self, train, run):
        if self.sampler:
            width = run.model.head.in_features
            with chance(run):
                inner = [nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
                self.network = nn.Sequential(*inner, nn.Linear(width, width), nn.Tanh())
            self.network.to(run.device)
            self.ascent = torch.optim.Adam(self.network.parameters(), lr=1e-3, maximize=True)
        return super().resample(train, run)

    def drawn(self, real, run):
        if not self.sampler:
            return super().drawn(real, run)
        size = (max(1, self.frequencies // 16), real.shape[1])
        return self.network(torch.randn(size, generator=run.rng, device=real.device))

    def refine(self, pixels, labels, expert, optimizer, run):
        if self.sampler:  # its slopes are those of the step just taken
            self.ascent.step()
            self.ascent.zero_grad()
        super().refine(pixels, labels, expert, optimizer, run)


@hookimpl
def register_methods(register):
    register(NCFM)
