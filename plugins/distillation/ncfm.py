"""Neural characteristic function matching (NCFM: Wang et al., CVPR 2025)."""

from typing import Literal

import torch
from torch import nn

from ltbench import Share, hookimpl
from ltbench_plugins.distillation.csdm import CSDM, NCFM_SCALE, Count
from ltbench_plugins.distillation.distribution_matching import chance


class NCFM(CSDM):
    """Matches characteristic functions by the size of their gaps, with a calibrating step.

    With `sampler` a network of three layers makes the frequencies, a sixteenth as many different
    ones, and learns to make the gap large by SGD at a rate of 0.001 with momentum 0.5, all as in
    released code; that steps class after class, and here one step adds up what they would do. Its
    first CIFAR configurations leave the network off, the paper calls it essential. The paper weighs
    all classes alike; the other directions are `csdm`'s, and the control that tells its weights
    from the rest. One stored image is one training image: the released code stores four shrunken
    ones in its place. Adam moves the pixels.
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
            with chance(run):
                self.network = sample_net(run.model.head.in_features).to(run.device)
            rate = 1e-3 * NCFM_SCALE * run.num_classes  # the distance is a mean over classes
            self.ascent = torch.optim.SGD(
                self.network.parameters(), rate, momentum=0.5, maximize=True
            )
        return super().resample(train, run)

    def drawn(self, real, run):
        if not self.sampler:
            return super().drawn(real, run)
        rows = max(2, -(-self.frequencies // 16))  # one row has no variance
        size = (rows, real.shape[1])
        return self.network(torch.randn(size, generator=run.rng, device=real.device))

    def refine(self, pixels, labels, expert, optimizer, run):
        if self.sampler:  # its slopes are those of the step just taken
            self.ascent.step()
            self.ascent.zero_grad()
        super().refine(pixels, labels, expert, optimizer, run)


def sample_net(width):
    """A network from noise [J, width], J at least 2, to frequencies between -1 and 1."""
    layers = []
    for last in (False, False, True):
        activation = nn.Tanh() if last else nn.LeakyReLU(0.2)
        layers += [nn.Linear(width, width), nn.BatchNorm1d(width), activation]
    return nn.Sequential(*layers)


@hookimpl
def register_methods(register):
    register(NCFM)
