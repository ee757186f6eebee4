"""Feature distribution smoothing: neighbouring bins share statistics (Yang et al., ICML 2021)."""

import torch
from torch import nn

from ltbench import LTBenchError, Positive, Share, hookimpl
from ltbench.tracks.regression.contract import Regression
from ltbench_plugins.regression.lds import kernel

CLIP = (0.1, 10.0)  # of a ratio of variances
EPOCHS_BEFORE = 1  # that train without


class FDS(Regression):
    """Moves features in training from their bin's mean and variance to those smoothed over bins.

    At each epoch but the first, means and unbiased variances of each bin's features over the
    training rows are brought on by an exponential mean, and smoothed with a kernel of sum 1 that
    reflects at both ends. A row's features h become (h - m1) sqrt(v2 / v1) + m2, the ratio clipped
    to 0.1..10, before the head; where v1 is 0 they stay. Nothing is moved to predict.

    Departures from the released code: m2 and v2 are smoothed of the very m1 and v1 that stand
    beside them, which there are an update newer from the third epoch on; an empty bin has no part
    in smoothing, where there it has mean 0 and variance 1; and features are those of a network that
    evaluates.
    """

    name = "fds"
    reference = "arXiv:2102.09554"
    roles = ("main", "head")

    def __init__(self, size: int = 5, sigma: Positive = 2, momentum: Share = 0.9):
        if size < 1 or size % 2 == 0:
            raise LTBenchError(f"size={size}: a kernel has an odd number of bins, such as 5")
        self.size = size
        self.sigma = sigma
        self.momentum = momentum

    def build(self, model, run):
        window = kernel("gaussian", self.size, self.sigma)
        model.head = Smoothed(model.head, run.num_classes, window)
        return model

    def prepare(self, run):
        epoch = round(float(run.progress) * run.phase.epochs)
        head = run.model.head
        due = EPOCHS_BEFORE + int(head.updates)
        if run.phase.role == "main" and epoch >= due:
            features = run.features(run.train.inputs)
            head.update(features, run.granted.bins(run.train.labels), self.momentum)

    def batch(self, batch, run):
        moves = run.phase.role == "main"
        run.model.head.bins = run.granted.bins(batch.targets[0][0]) if moves else None
        return batch

    def extra(self, output, batch, run):
        if len(batch.targets) > 1:  # also where others mixed them later
            raise LTBenchError("fds needs the value of each row; what mixes rows leaves none")


class Smoothed(nn.Module):
    """A head before which the features of training rows, whose `bins` [N] are told, are moved."""

    def __init__(self, head, bins, window):
        super().__init__()
        self.plain, self.in_features, self.bins = head, head.in_features, None
        self.register_buffer("window", window / window.sum())
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))
        self.register_buffer("rows", torch.zeros(bins))
        for name in ("means", "variances", "smooth_means", "smooth_variances"):
            self.register_buffer(name, torch.zeros(bins, head.in_features))

    def forward(self, features):
        if self.training and self.bins is not None and self.updates > 0:
            n = len(self.bins)
            features = torch.cat([self.moved(features[:n], self.bins), features[n:]])
        return self.plain(features)

    def moved(self, features, bins):
        before, after = self.variances[bins], self.smooth_variances[bins]
        still = before == 0
        factor = (after / before.masked_fill(still, 1.0)).clamp(*CLIP).sqrt()
        there = (features - self.means[bins]) * factor + self.smooth_means[bins]
        return torch.where(still, features, there)

    @torch.no_grad()
    def update(self, features, bins, momentum):
        """Brings the statistics on by those of all training rows, and smooths them."""
        rows, means, variances = statistics(features, bins, len(self.rows))
        keep = momentum if self.updates > 0 else 0.0
        self.rows.copy_(rows)
        for kept, new in ((self.means, means), (self.variances, variances)):
            kept.copy_(torch.where(rows[:, None] > 0, keep * kept + (1 - keep) * new, kept))
        there = (rows > 0).to(means)
        self.smooth_means.copy_(shared(self.means, there, self.window))
        self.smooth_variances.copy_(shared(self.variances, there, self.window))
        self.updates += 1


def statistics(features, bins, number):
    """The rows [B] of each bin, and the mean and unbiased variance [B, D] of their features."""
    rows = torch.bincount(bins, minlength=number).to(features)
    sums = features.new_zeros(number, features.shape[1]).index_add_(0, bins, features)
    means = sums / rows.clamp(min=1)[:, None]
    squares = torch.zeros_like(sums).index_add_(0, bins, (features - means[bins]) ** 2)
    return rows, means, squares / (rows - 1).clamp(min=1)[:, None]


def shared(values, there, window):
    """Values [B, D] smoothed over those bins that are `there` [B], with mirrors at both ends."""
    half = len(window) // 2
    places = torch.arange(-half, len(values) + half, device=values.device)
    period = max(2 * len(values) - 2, 1)  # a mirror through the last value
    places = places % period
    places = torch.where(places < len(values), places, period - places)
    weight = there[places].unfold(0, len(window), 1) * window.to(values)
    smooth = torch.einsum("bdk,bk->bd", values[places].unfold(0, len(window), 1), weight)
    return smooth / weight.sum(dim=1).clamp(min=1e-12)[:, None]


@hookimpl
def register_methods(register):
    register(FDS)
