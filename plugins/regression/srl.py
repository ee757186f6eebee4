"""SRL: a surrogate of all bins, spread over the sphere and smooth (Dong et al., CVPR 2025)."""

from typing import Annotated

import torch
from msgspec import Meta
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from ltbench import NonNegative, Positive, Share, hookimpl
from ltbench.tracks.regression.contract import Regression

Count = Annotated[int, Meta(ge=1)]


class SRL(Regression):
    """Adds three terms of a surrogate: the centroid of each bin among projected unit features.

    - `contrast`: the cross-entropy of a row's cosines to all centroids, which take no slope, at a
      temperature;
    - `envelop`: 1 - the mean over fixed random points of the sphere of the largest cosine to a
      centroid, so that the trace of centroids fills it;
    - `smooth`: the sum over neighbouring centroids of the squared distance divided by that of their
      values in bins, so that values are spread evenly along it.

    Bins of the batch stand there with their rows, others as the training rows left them, without
    slope. Those are brought on at each epoch by an exponential mean; the first epoch is plain.

    Departures: the smooth term is the paper's. The released code has cosines in its place, with a
    part of their variance, and the sign of which is turned round in two of its three files; the
    weights are our choice, as those of its files differ by up to 100,000 times; bins without rows
    have no part; and the features that bring the surrogate on are of a network that evaluates.
    """

    name = "srl"
    reference = "arXiv:2503.00876"
    neutral = {"contrast": 0.0, "envelop": 0.0, "smooth": 0.0}

    def __init__(
        self,
        contrast: NonNegative = 0.1,
        envelop: NonNegative = 0.1,
        smooth: NonNegative = 0.001,
        temperature: Positive = 0.1,
        momentum: Share = 0.9,
        points: Count = 1000,
        dimension: Count = 128,
    ):
        self.contrast = contrast
        self.envelop = envelop
        self.smooth = smooth
        self.temperature = temperature
        self.momentum = momentum
        self.points = points
        self.dimension = dimension

    def build(self, model, run):
        if self.contrast == self.envelop == self.smooth == 0:
            return model
        width, bins = model.head.in_features, run.num_classes
        model.surrogate = Surrogate(width, self.dimension, bins, self.points)
        return model

    def prepare(self, run):
        surrogate = getattr(run.model, "surrogate", None)
        epoch = round(float(run.progress) * run.phase.epochs)
        if surrogate is not None and epoch > int(surrogate.updates):
            features = run.features(run.train.inputs)
            bins = run.granted.bins(run.train.labels)
            surrogate.update(features, bins, self.momentum)

    def extra(self, output, batch, run):
        surrogate = getattr(run.model, "surrogate", None)
        if surrogate is None or surrogate.updates == 0:
            return None
        unit = surrogate(output.features[: len(batch.rows)])
        bins = run.granted.bins(batch.targets[0][0])
        there = surrogate.rows > 0
        centroids = mended(surrogate.centroids, unit, bins)
        places = torch.arange(len(centroids), device=unit.device).to(unit)[there]
        cosines = unit @ centroids.detach()[there].T / self.temperature
        told = cross_entropy(cosines, there.cumsum(dim=0)[bins] - 1)
        spread = enveloping(centroids[there], surrogate.sphere)
        even = homogeneity(centroids[there], places)
        return self.contrast * told + self.envelop * spread + self.smooth * even


class Surrogate(nn.Module):
    """A projector of features to the sphere, points on it, and the `centroids` [B, E] of bins, as
    many of which have `rows` [B]."""

    def __init__(self, width, dimension, bins, points):
        super().__init__()
        layers = nn.Linear(width, width), nn.ReLU(), nn.Linear(width, dimension)
        self.projector = nn.Sequential(*layers)
        self.register_buffer("sphere", normalize(torch.randn(points, dimension), dim=1))
        self.register_buffer("centroids", torch.zeros(bins, dimension))
        self.register_buffer("rows", torch.zeros(bins))
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    def forward(self, features):
        return normalize(self.projector(features), dim=1)

    @torch.no_grad()
    def update(self, features, bins, momentum):
        """Brings the centroids on by those of all training rows."""
        new, rows = centroids_of(self(features), bins, len(self.rows))
        keep = momentum if self.updates > 0 else 0.0
        self.centroids.copy_(normalize(keep * self.centroids + (1 - keep) * new, dim=1))
        self.rows.copy_(rows)
        self.updates += 1


def centroids_of(unit, bins, number):
    """The centroid [B, E] of each bin of unit features [N, E], of length 1, and its rows [B]."""
    sums = unit.new_zeros(number, unit.shape[1]).index_add(0, bins, unit)
    return normalize(sums, dim=1), torch.bincount(bins, minlength=number).to(unit)


def mended(centroids, unit, bins):
    """The kept centroids [B, E], with those of a batch in the place of bins that it has."""
    new, rows = centroids_of(unit, bins, len(centroids))
    return torch.where(rows[:, None] > 0, new, centroids.to(unit))


def enveloping(centroids, sphere):
    """How far points of the sphere are from the next centroid, in 0..2."""
    return 1 - (sphere.to(centroids) @ centroids.T).amax(dim=1).mean()


def homogeneity(centroids, places):
    """The sum of squared distances of neighbours divided by how far their places [K] are apart."""
    steps = (centroids[1:] - centroids[:-1]).pow(2).sum(dim=1)
    return (steps / (places[1:] - places[:-1])).sum()


@hookimpl
def register_methods(register):
    register(SRL)
