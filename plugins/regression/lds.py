"""Label distribution smoothing: weights by counts shared by neighbours (Yang et al., ICML 2021)."""

from typing import Literal

import torch
from torch.nn.functional import conv1d, pad

from ltbench import Integer, LTBenchError, Positive, hookimpl
from ltbench.tracks.regression.contract import Regression

FLOOR, CEILING = 5, 1000  # rows of a bin, as which fewer and more count in the form "inverse"
LEAST = 1e-12  # of a count where neither a bin nor a neighbour has rows; no row has its weight


class LDS(Regression):
    """Weighs a row by 1 / the smoothed count of its bin, with mean 1 over the training rows.

    Counts are transformed first, by a square root or clipped to 5..1,000 for the form "inverse",
    then smoothed over bins with a symmetric kernel of peak 1, zero beyond both ends. A kernel of
    size 1 leaves the plain weights. Departures: the loss is divided by the sum of the weights in
    the batch, as weights are throughout ltbench, where the released code takes the plain mean; and
    smoothed counts of the form "inverse" are not cut to whole numbers.
    """

    name = "lds"
    reference = "arXiv:2102.09554"
    corrects = "prior"
    space = {"sigma": Integer(1, 4)}

    def __init__(
        self,
        size: int = 5,
        sigma: Positive = 2,
        kernel: Literal["gaussian", "triangular", "laplace"] = "gaussian",
        form: Literal["sqrt", "inverse"] = "sqrt",
    ):
        if size < 1 or size % 2 == 0:
            raise LTBenchError(f"size={size}: a kernel has an odd number of bins, such as 5")
        self.size = size
        self.sigma = sigma
        self.kernel = kernel
        self.form = form

    def prepare(self, run):
        shares = run.seen * (run.exact_counts > 0)  # of rows as they are presented
        shares = shares / shares.sum()
        counts = shares * run.exact_counts.sum()
        counts = counts.sqrt() if self.form == "sqrt" else counts.clamp(FLOOR, CEILING)
        window = kernel(self.kernel, self.size, self.sigma).to(counts)
        weights = 1 / smoothed(counts, window).clamp(min=LEAST)
        self.weights = weights / (shares * weights).sum()

    def weight(self, labels, run):
        return self.weights[run.granted.bins(labels)]


def kernel(name, size, sigma):
    """A symmetric window [size], float64, whose peak is 1.

    The Gaussian is an impulse of that length filtered with reflecting ends, by which a wide one is
    far flatter than a Gaussian; that is the released code's.
    """
    offsets = torch.arange(size, dtype=torch.float64) - size // 2
    if name == "triangular":
        return 1 - offsets.abs() / (size // 2 + 1)
    if name == "laplace":
        return torch.exp(-offsets.abs() / sigma)
    window = reflected((offsets == 0).double(), sigma)
    return window / window.max()


def reflected(signal, sigma, truncate=4.0):
    """A signal [n] convolved with a Gaussian of sum 1, going on beyond its ends as in a mirror that
    stands behind the last value."""
    radius = int(truncate * float(sigma) + 0.5)
    offsets = torch.arange(-radius, radius + 1, dtype=signal.dtype)
    window = torch.exp(-0.5 * (offsets / sigma) ** 2)
    places = torch.arange(-radius, len(signal) + radius) % (2 * len(signal))
    places = torch.where(places < len(signal), places, 2 * len(signal) - 1 - places)
    return conv1d(signal[places][None, None], (window / window.sum())[None, None])[0, 0]


def smoothed(counts, window):
    """Counts [B] smoothed with a window of odd length, with nothing beyond both ends."""
    half = len(window) // 2
    return conv1d(pad(counts, (half, half))[None, None], window[None, None])[0, 0]


@hookimpl
def register_methods(register):
    register(LDS)
