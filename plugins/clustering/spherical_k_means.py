"""Spherical k-means: clusters of directions (Dhillon and Modha, 2001)."""

import torch
from torch import nn
from torch.nn.functional import normalize, one_hot

from ltbench import hookimpl
from ltbench.tracks.clustering.contract import pool_of
from ltbench_plugins.clustering.k_means import KMeans, refuse_few

ROUNDS = 100


class SphericalKMeans(KMeans):
    """A row is in the cluster whose unit centre it has the largest cosine with.

    Of `starts`, each from rows drawn far apart, the one of the largest sum of cosines stays.
    """

    name = "spherical-k-means"
    reference = "doi:10.1023/A:1007612920971"

    def finish(self, model, validation, run):
        pool = pool_of(run)
        if pool is not None:
            features = run.features(pool)
            refuse_few(self.name, features, run.num_classes)
            model.head = Directions(spherical(features, run.num_classes, self.starts, run.rng))
        return model


class Directions(nn.Module):
    """Scores [N, C] are ten times the cosines with unit centres [C, D]."""

    def __init__(self, centres):
        super().__init__()
        self.register_buffer("centres", centres)

    def forward(self, features):
        return 10 * normalize(features) @ self.centres.T


def spherical(features, clusters, starts, rng):
    """The unit centres [C, D] of features [M, D]; all starts go on together."""
    unit = normalize(features.double())
    centres = begun(unit, clusters, starts, rng)
    before = None
    for _ in range(ROUNDS):
        nearest = (unit @ centres.mT).argmax(dim=-1)
        if before is not None and torch.equal(nearest, before):
            break
        before = nearest
        sums = one_hot(nearest, clusters).to(unit).mT @ unit
        empty = sums.norm(dim=-1, keepdim=True) < 1e-12
        centres = torch.where(empty, centres, normalize(sums, dim=-1))
    gained = (unit @ centres.mT).amax(dim=-1).sum(dim=-1)
    return centres[gained.argmax()].to(features)


def begun(unit, clusters, starts, rng):
    """Centres [starts, C, D]: rows drawn one after the other, likelier the less their cosine with
    the nearest before."""
    first = torch.randint(len(unit), (starts, 1), generator=rng, device=unit.device)
    chosen, least = first, None
    for _ in range(clusters - 1):
        gap = 1 - (unit[chosen[:, -1]] @ unit.T)
        least = gap if least is None else torch.minimum(least, gap)
        share = least.clamp(min=1e-12)
        drawn = torch.multinomial(share, 1, generator=rng)
        chosen = torch.cat([chosen, drawn], dim=1)
    return unit[chosen]


@hookimpl
def register_methods(register):
    register(SphericalKMeans)
