"""Aggregations that bear senders of nonsense: median, trimmed mean, and Krum."""

import torch

from ltbench import Share, hookimpl
from ltbench.tracks.federated.contract import CLIENTS, Federating, mean_of


class Median(Federating):
    """The median of each number over those who sent; of an even number of them, of the middle two.

    All clients count alike, whatever their rows.
    """

    name = "median"
    reference = "arXiv:1803.01498"
    needs = frozenset({CLIENTS})

    def aggregate(self, updates, run):
        return trimmed(updates, (len(updates) - 1) // 2)


class TrimmedMean(Federating):
    """The mean of each number over those who sent, less a `share` of them at each end.

    Yin et al., ICML 2018, as the median. All clients count alike, whatever their rows. Four of
    fourteen peers, all of whom may attack in our protocol, are the default; with a share of 0 it is
    the plain mean.
    """

    name = "trimmed-mean"
    reference = "arXiv:1803.01498"
    needs = frozenset({CLIENTS})

    def __init__(self, share: Share = 0.3):
        self.share = share

    def aggregate(self, updates, run):
        most = (len(updates) - 1) // 2
        return trimmed(updates, min(int(self.share * len(updates)), most))


class Krum(Federating):
    """The state that is nearest to others: least is the sum of squared distances to its n - b - 2
    nearest, of n who sent and b = `share` n who may attack.

    Blanchard et al., NeurIPS 2017. A peer takes the mean of that and its own, as Bristle's code
    does; a server the state itself.
    """

    name = "krum"
    reference = "arXiv:1703.02757"
    needs = frozenset({CLIENTS})

    def __init__(self, share: Share = 0.3):
        self.share = share

    def aggregate(self, updates, run):
        number = len(updates)
        nearest = max(number - int(self.share * number) - 2, 1)
        flat = torch.stack([flattened(update.state) for update in updates])
        distances = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist").square()
        distances.fill_diagonal_(float("inf"))
        sums = distances.sort(dim=1).values[:, :nearest].sum(dim=1)
        # a state that overflows is far from everybody, and from itself
        best = updates[int(sums.nan_to_num(float("inf"), float("inf")).argmin())]
        own = [one.state for one in updates if one.client == run.granted.client]
        return mean_of([best.state, *own], [1.0] * (1 + len(own)))


def flattened(state):
    """All numbers of a state that learn, in a row [P], in float64."""
    return torch.cat([one.double().flatten() for one in state.values() if one.is_floating_point()])


def trimmed(updates, trim):
    """The mean of each number, but for the `trim` largest and smallest; what counts is averaged."""
    states = [update.state for update in updates]
    found = mean_of(states, [1.0] * len(states))
    for name, first in states[0].items():
        if first.is_floating_point():
            every = torch.stack([state[name] for state in states]).sort(dim=0).values
            found[name] = every[trim : len(states) - trim].mean(dim=0)
    return found


@hookimpl
def register_methods(register):
    register(Median)
    register(TrimmedMean)
    register(Krum)
