"""A few rows or means that stand for each class.

NearMiss: Mani and Zhang, ICML workshop on imbalanced datasets 2003. Cluster centroids: Lin et al.,
Information Sciences 2017. Vector quantisation: after PVQ (2022), of which we know the abstract.
"""

import warnings
from typing import Literal

import imblearn.under_sampling as samplers
import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from ltbench import Choice, Integer, Method, Rows, Share, Uniform, hookimpl
from ltbench_plugins.sampling.cleaning import Cleaning, chosen, larger, table
from ltbench_plugins.sampling.smote import Count, rows_like


class NearMiss(Cleaning):
    """Keeps as many rows of each class as the rarest has, those near the rows of the rarest.

    Version 1 keeps the rows with the least mean distance to their `neighbours` nearest of the
    rarest class, version 2 those with the least to their farthest ones. Version 3 keeps, among the
    `candidates` nearest to each row of the rarest class, those with the greatest mean distance to
    their nearest; where they are too few, a class ends smaller. Wraps imbalanced-learn's NearMiss.
    """

    name = "nearmiss"
    reference = "ICML workshop 2003, Mani and Zhang"
    corrects = "prior"
    space = {"version": Choice(1, 2, 3), "neighbours": Integer(1, 9)}

    def __init__(self, version: Literal[1, 2, 3] = 1, neighbours: Count = 3, candidates: Count = 3):
        self.version = version
        self.neighbours = neighbours
        self.candidates = candidates

    def kept(self, x, y, classes, run):
        counts = np.bincount(y)
        rarest = int(counts.min())
        neighbours = min(self.neighbours, rarest)
        if neighbours < self.neighbours:
            run.note(f"rarest class of {rarest} rows: {neighbours} of {self.neighbours} neighbours")
        kept = np.ones(len(x), dtype=bool)
        for c in classes.tolist():
            sampler = samplers.NearMiss(
                version=self.version,
                n_neighbors=neighbours,
                n_neighbors_ver3=int(min(self.candidates, counts[c])),
            )
            kept &= chosen(sampler, x, y, {c: rarest})
            if kept[y == c].sum() < rarest:
                run.note("classes with too few candidates: fewer rows than the rarest class")
        return kept


class ClusterCentroids(Method):
    """Puts as many means as the rarest class has rows in place of each larger class.

    They are the centroids of k-means; with `voting` "hard", the rows nearest to them, of which one
    may come more than once. The rows of the rarest class come first. Wraps imbalanced-learn's
    ClusterCentroids.
    """

    name = "cluster-centroids"
    reference = "doi:10.1016/j.ins.2017.05.008"
    corrects = "prior"

    def __init__(self, voting: Literal["soft", "hard"] = "soft"):
        self.voting = voting

    def resample(self, train, run):
        x, y = table(train)
        shrunk = larger(y, run)
        if not len(shrunk):
            return train
        sampler = samplers.ClusterCentroids(
            sampling_strategy=dict.fromkeys(shrunk.tolist(), int(np.bincount(y).min())),
            random_state=run.seed,
            voting=self.voting,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # on fewer places than centroids
            means, classes = sampler.fit_resample(x, y)
        new = np.isin(classes, shrunk)
        if len(np.unique(np.column_stack([means, classes])[new], axis=0)) < new.sum():
            run.note("classes some of whose means are the same")
        labels = train.labels.cpu().numpy()[np.unique(y, return_index=True)[1]]
        rare = torch.from_numpy(~np.isin(y, shrunk)).to(train.labels.device)
        return joined([train[rare], rows_like(train, means[new], labels[classes[new]])])


class VQUndersampling(Method):
    """Vector quantisation: each class becomes an equal number of prototypes, the means of clusters.

    The rarest class is quantised too: `budget` is the number of prototypes as a share of its rows.
    Half is our choice, as with all of them the rarest class stays as it is and the method is
    `cluster-centroids`. PVQ (2022) has no released code and we know its abstract alone; k-means
    finds the clusters here.
    """

    name = "vq-undersampling"
    reference = "PVQ, 2022"
    corrects = "prior"
    space = {"budget": Uniform(0.1, 0.9)}

    def __init__(self, budget: Share = 0.5):
        self.budget = budget

    def resample(self, train, run):
        x, y = table(train)
        budget = max(1, round(self.budget * np.bincount(y).min()))
        parts = []
        for c in np.unique(y):
            labels = train.labels.cpu().numpy()[y == c][:budget]
            parts.append(rows_like(train, quantised(x[y == c], budget, run), labels))
        return joined(parts)


def quantised(x, budget, run):
    """The means [budget, D] of as many clusters of the rows."""
    if len(x) == budget:
        return x
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # on fewer places than clusters
        cluster = KMeans(budget, random_state=run.seed).fit_predict(x)
    means = [x[cluster == k].mean(axis=0, dtype=np.float64) for k in np.unique(cluster)]
    if len(means) < budget:
        run.note("classes with fewer different rows than prototypes: prototypes repeated")
    return np.resize(means, (budget, x.shape[1]))


def joined(parts):
    return Rows(torch.cat([p.inputs for p in parts]), torch.cat([p.labels for p in parts]))


@hookimpl
def register_methods(register):
    register(NearMiss)
    register(ClusterCentroids)
    register(VQUndersampling)
