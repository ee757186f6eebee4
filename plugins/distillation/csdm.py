"""Class-aware spectral distribution matching (CSDM), reconstructed, and its even-handed form SDD.

arXiv:2603.01698 (2026). No code is public and the paper's body was out of reach: the distance is
stated by its abstract and its reviews, the rest is inferred from NCFM (arXiv:2502.20653), by the
same group, or chosen here; docs/distillation.md tells which is which.
"""

import math
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from msgspec import Meta

from ltbench import LTBenchError, Positive, Share, hookimpl
from ltbench_plugins.distillation.distribution_matching import Matching, blends
from ltbench_plugins.distillation.selection import class_means

Count = Annotated[int, Meta(ge=1)]
Kernel = Literal["gaussian", "laplace", "matern", "exponential", "rational-quadratic"]
NCFM_SCALE = 300  # of a class's distance against the cross-entropy of its images, in NCFM's code
TINY = 1e-12  # under a root, whose slope at nothing is infinite


class SDD(Matching):
    """Matches the characteristic functions of each class's features, its gaps all weighed alike.

    By Bochner's theorem the mean squared gap, at frequencies drawn from the spectrum of a kernel,
    is the squared maximum mean discrepancy under that kernel. Features have length one and are
    those of blends of a pool's networks. `bandwidth` is the kernel's length, or the "median"
    distance between real rows at each step; `shape` is Matérn's smoothness and the rational
    quadratic's exponent. With `root` a gap counts by its size, not its square (NCFM's form). With
    `calibration` each step is followed by one on the cross-entropy of the images under the trained
    network (NCFM's too). `balanced_pool` trains the pool on draws in which classes are alike.
    """

    name = "sdd"
    reference = "arXiv:2603.01698"
    origin = "reconstruction"

    def __init__(
        self,
        kernel: Kernel = "gaussian",
        bandwidth: Positive | Literal["median"] = 1.0,
        shape: Positive = 1.5,
        frequencies: Count = 1024,
        root: bool = False,
        calibration: bool = False,
        balanced_pool: bool = False,
    ):
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.shape = shape
        self.frequencies = frequencies
        self.root = root
        self.calibration = calibration
        self.balanced_pool = balanced_pool

    def resample(self, train, run):
        if self.origin is not None:
            run.note(f"origin: {self.origin}")
        return super().resample(train, run)

    def networks(self, run):
        return blends(run, self.balanced_pool)

    def amplitude_share(self, run):
        """How much the amplitude's gap counts in each class [C]; the phase's has the rest."""
        return torch.full_like(run.counts, 0.5)

    def distance(self, real, labels, made, run):
        real, made = F.normalize(real), F.normalize(made, dim=2)
        length = median_distance(real) if self.bandwidth == "median" else self.bandwidth
        t = self.drawn(real, run) / length
        amplitude, phase = gaps(real, labels, made, t)
        share = self.amplitude_share(run)[:, None]
        gap = share * amplitude + (1 - share) * phase
        return gap.clamp(min=TINY).sqrt().mean() if self.root else 2 * gap.mean()

    def drawn(self, real, run):
        """Frequencies [J, D] for a kernel of length one."""
        return frequencies(self.kernel, self.frequencies, real, self.shape, run.rng)

    def refine(self, pixels, labels, expert, optimizer, run):
        if self.calibration:
            scores = expert.head(run.through(expert, run.views.alike(run.rng)(pixels)))
            optimizer.zero_grad()
            (F.cross_entropy(scores, labels) / NCFM_SCALE).backward()  # both are means over classes
            optimizer.step()
            run.passes += len(pixels)


class CSDM(SDD):
    """SDD that weighs the gaps of amplitude (diversity) and phase (realism) by the class's size.

    The amplitude's share goes from `tail` in the smallest class to `head` in the largest along the
    logarithm of the count, which is our choice. So the tail is led by the phase, as the paper says
    in its last version; its first said the opposite, which is `direction` "tail-amplitude": the
    ends swap. "uniform" is SDD. With one image a class the amplitude has no slope.
    """

    name = "csdm"
    reference = "arXiv:2603.01698"

    def __init__(
        self,
        direction: Literal["tail-phase", "uniform", "tail-amplitude"] = "tail-phase",
        head: Share = 0.9,
        tail: Share = 0.1,
        kernel: Kernel = "gaussian",
        bandwidth: Positive | Literal["median"] = 1.0,
        shape: Positive = 1.5,
        frequencies: Count = 1024,
        root: bool = False,
        calibration: bool = False,
        balanced_pool: bool = False,
    ):
        super().__init__(kernel, bandwidth, shape, frequencies, root, calibration, balanced_pool)
        self.direction = direction
        self.head = head
        self.tail = tail

    def resample(self, train, run):
        if run.granted.ipc == 1 and self.direction != "uniform":
            if max(self.head, self.tail) == 1:
                raise LTBenchError(
                    "one image a class has no slope in the amplitude, so a class that weighs it "
                    f"alone would learn nothing; head={self.head:g} and tail={self.tail:g} must "
                    "stay below 1"
                )
            run.note("one image a class: the amplitude has no slope, its share only slows a class")
        return super().resample(train, run)

    def amplitude_share(self, run):
        if self.direction == "uniform":
            return super().amplitude_share(run)
        ends = (self.tail, self.head)
        tail, head = ends if self.direction == "tail-phase" else ends[::-1]
        return tail + (head - tail) * size(run.counts)


def size(counts):
    """0 for the smallest class, 1 for the largest, by the logarithm [C]; half if all are alike."""
    span = math.log(counts.max() / counts.min())
    return (counts / counts.min()).log() / span if span else torch.full_like(counts, 0.5)


def gaps(real, labels, made, t):
    """The squared gap of each class [C, J] at frequencies t, in amplitude and in phase.

    They add up to the squared distance of the empirical characteristic functions of real features
    [N, D] and made ones [C, ipc, D].
    """
    classes, angle, own = len(made), real @ t.T, made @ t.T
    a = [class_means(wave, labels, classes) for wave in (angle.cos(), angle.sin())]
    b = [wave.mean(dim=1) for wave in (own.cos(), own.sin())]
    size_a, size_b = ((z[0] ** 2 + z[1] ** 2).clamp(min=TINY).sqrt() for z in (a, b))
    amplitude = (size_a - size_b) ** 2
    return amplitude, 2 * (size_a * size_b - a[0] * b[0] - a[1] * b[1])


def frequencies(kernel, count, like, shape, rng):
    """Draws [J, D] from the spectrum of a kernel of length one, as wide as the rows of `like`."""
    size = (count, like.shape[1])
    if kernel == "laplace":
        chance = torch.rand(size, generator=rng, device=like.device, dtype=like.dtype)
        return torch.tan(math.pi * (chance - 0.5))
    normal = torch.randn(size, generator=rng, device=like.device, dtype=like.dtype)
    if kernel == "gaussian":
        return normal
    shape = 0.5 if kernel == "exponential" else shape
    gamma = torch._standard_gamma(like.new_full((count, 1), shape), generator=rng) / shape
    return normal * gamma.sqrt() if kernel == "rational-quadratic" else normal / gamma.sqrt()


def median_distance(x):
    """The median distance between rows, of 256 at most."""
    return torch.pdist(x[:: max(1, len(x) // 256)][:256]).median()


@hookimpl
def register_methods(register):
    register(SDD)
    register(CSDM)
