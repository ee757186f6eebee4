"""SMOTE from support vectors, inside clusters, and with categories.

SVM-SMOTE: Nguyen et al., IJKESDP 2011. KMeans-SMOTE: Last et al., Information Sciences 2018.
SMOTE-NC and SMOTE-N: Chawla et al., JAIR 2002, section 6. The rules are imbalanced-learn's.
"""

import imblearn.over_sampling as samplers
import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.svm import SVC

from ltbench import Integer, Rows, hookimpl
from ltbench_plugins.sampling.smote import SMOTE, Count, sampled


class SVMSMOTE(SMOTE):
    """SMOTE from the support vectors of a class alone, on the line to one of its neighbours.

    A support vector of whose `nearby` nearest half or more are foreign takes a step towards the
    neighbour; the others take one away from it, up to half as long; those with foreign ones alone
    are left out. Where that leaves none, SMOTE grows the class, which is our choice. Wraps
    imbalanced-learn's SVMSMOTE, for one class after the other, but trains its SVM once for them.
    That leaves a class short whose support vectors all step one way; here it is filled up.
    """

    name = "svm-smote"
    reference = "doi:10.1504/IJKESDP.2011.039875"

    def __init__(self, neighbours: Count = 5, nearby: Count = 10):
        self.neighbours = neighbours
        self.nearby = nearby

    def resample(self, train, run):
        if train.inputs.is_floating_point():
            return super().resample(train, run)
        grown = super().resample(Rows(train.inputs.float(), train.labels), run)
        limits = torch.iinfo(train.inputs.dtype)  # a step away from a neighbour may pass them
        inputs = grown.inputs.round().clamp(limits.min, limits.max)
        return Rows(inputs.to(train.inputs.dtype), grown.labels)

    def new_rows(self, x, y, classes, k, run):
        if k == 0:
            return super().new_rows(x, y, classes, k, run)
        sampler = samplers.SVMSMOTE(
            k_neighbors=k,
            m_neighbors=min(self.nearby, len(x) - 1),
            svm_estimator=Trained(SVC(random_state=run.seed).fit(x, y).support_),
            random_state=run.seed,
        )
        parts, others = [], []
        for c in classes.tolist():
            try:
                parts.append(filled(sampler, x, y, c, run))
            except ValueError as error:
                if not str(error).startswith("All support vectors"):
                    raise
                others.append(c)
        if others:
            run.note("classes whose support vectors are all noise: grown by SMOTE")
            parts += super().new_rows(x, y, np.array(others), k, run)
        return parts


class Trained(BaseEstimator):
    """Stands for an SVM that is trained already: fitting it gives the support vectors it has."""

    def __init__(self, support):
        self.support = support

    def fit(self, x, y):
        self.support_ = self.support
        return self

    def predict(self, x):
        raise NotImplementedError("only the support vectors are known")


def filled(sampler, x, y, c, run):
    """The rows that bring class `c` to the size of the largest, asking for more until they do."""
    counts = np.bincount(y)
    asked = missing = int(counts.max() - counts[c])
    while True:
        sampler.set_params(sampling_strategy={c: int(counts[c]) + asked})
        grown_x, grown_y = (grown[len(x) :] for grown in sampler.fit_resample(x, y))
        if len(grown_x) >= missing:
            return grown_x[:missing], grown_y[:missing]
        run.note("classes whose support vectors all step one way: filled up")
        asked *= 2


class KMeansSMOTE(SMOTE):
    """SMOTE inside clusters of all rows in which a class is strong, the more rows the sparser.

    With two classes a cluster takes part if half of it is rare; with more, if the class makes up
    half its share of all the rows to be made; and in both, if the class has more than `neighbours`
    rows there. Classes may end some rows above the largest, as each cluster's part is rounded up.
    Where no cluster takes part, or rows are so equal or so far that density is no number, SMOTE
    grows the class, which is our choice. Wraps imbalanced-learn's KMeansSMOTE: mini-batch k-means,
    and its own threshold and exponent of density; the paper searches for the threshold, the
    clusters and the neighbours, and has the number of columns as exponent.
    """

    name = "kmeans-smote"
    reference = "arXiv:1711.00837"
    space = {"neighbours": Integer(2, 10), "clusters": Integer(2, 20)}

    def __init__(self, neighbours: Count = 2, clusters: Count = 8):
        self.neighbours = neighbours
        self.clusters = clusters

    def new_rows(self, x, y, classes, k, run):
        if k == 0:
            return super().new_rows(x, y, classes, k, run)
        counts = np.bincount(y)
        missing = np.where(counts > 0, counts.max() - counts, 0)
        parts, others = [], []
        for c in classes.tolist():
            sampler = samplers.KMeansSMOTE(
                k_neighbors=k,
                kmeans_estimator=min(self.clusters, len(x)),
                cluster_balance_threshold=missing[c] / missing.sum() / 2,
            )
            try:
                # a cluster of equal rows, or of far ones, has a density of 0 / 0
                with np.errstate(invalid="ignore", over="ignore"):
                    parts.append(sampled(sampler, x, y, np.array([c]), run))
            except (RuntimeError, ValueError) as error:
                if not str(error).startswith(("No clusters found", "cannot convert float NaN")):
                    raise
                others.append(c)
        if others:
            run.note("classes with no cluster to grow in: grown by SMOTE")
            parts += super().new_rows(x, y, np.array(others), k, run)
        return parts


class SMOTENC(SMOTE):
    """SMOTE for tables with categories: a new row takes those most frequent among the neighbours.

    The numbers are interpolated. Between rows of a class, a category that differs counts as the
    median of the standard deviations of its numeric columns. Without numeric columns the distance
    is that of SMOTE-N, by how the classes share a category; without categories the method is
    `smote`. Wraps imbalanced-learn's SMOTENC and SMOTEN.
    """

    name = "smote-nc"
    reference = "arXiv:1106.1813"

    def new_rows(self, x, y, classes, k, run):
        if not run.train.categorical:
            run.note("no categorical columns: the same as smote")
        if k == 0 or not run.train.categorical:
            return super().new_rows(x, y, classes, k, run)
        blocks = [np.arange(x.shape[1])[block] for block in run.train.categorical]
        numeric = np.setdiff1d(np.arange(x.shape[1]), np.concatenate(blocks))
        codes = np.stack([x[:, block].argmax(axis=1) for block in blocks], axis=1)
        if len(numeric):
            coded = np.hstack([x[:, numeric], codes.astype(x.dtype)])
            sampler = samplers.SMOTENC(list(range(coded.shape[1]))[len(numeric) :], k_neighbors=k)
        else:
            coded, sampler = codes, samplers.SMOTEN(k_neighbors=k)
        more, labels = sampled(sampler, coded, y, classes, run)
        rows = np.zeros((len(more), x.shape[1]), x.dtype)
        rows[:, numeric] = more[:, : len(numeric)]
        for block, code in zip(blocks, more[:, len(numeric) :].T.astype(int), strict=True):
            rows[np.arange(len(rows)), block[code]] = 1
        return [(rows, labels)]


@hookimpl
def register_methods(register):
    register(SVMSMOTE)
    register(KMeansSMOTE)
    register(SMOTENC)
