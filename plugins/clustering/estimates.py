"""The sizes of classes, estimated by k-means as the network learns (Bai et al., NeurIPS 2023)."""

import torch
from scipy.optimize import linear_sum_assignment
from torch.nn.functional import normalize

from ltbench.tracks.clustering.contract import UNKNOWN, Clustering, pool_of
from ltbench_plugins.clustering.k_means import lloyd, refuse_few

TIMES, STARTS = 20, 3  # in a training; of k-means


class Estimated(Clustering):
    """Keeps `run.model.estimate` [C], shares of outputs, made anew twenty times in a training."""

    estimates = True

    def build(self, model, run):
        model = super().build(model, run)
        model.register_buffer("estimate", torch.full_like(run.counts, 1 / run.num_classes))
        model.register_buffer("estimated", torch.zeros((), dtype=torch.long))
        return model

    def prepare(self, run):
        pool = pool_of(run)
        due = (run.progress * TIMES + 1e-6).floor().long() + 1
        if not self.estimates or pool is None or run.model.estimated >= due:
            return
        features = normalize(self.kept(run.features(pool)))
        refuse_few(self.name, features, run.num_classes)
        centres = lloyd(features, run.num_classes, STARTS, run.seed)
        clusters = torch.cdist(features, centres).argmin(dim=1)
        predicted = run.scores(pool).argmax(dim=1)
        sizes = estimated(clusters, run.granted.labels, run.exact_counts, predicted)
        run.model.estimate.copy_(sizes)
        run.model.estimated.fill_(due)

    def kept(self, features):
        """The features that are clustered."""
        return features


def estimated(clusters, labels, counts, predicted):
    """The share [C] of each output, of clusters [M], of labels [M] or -1, and class counts [C].

    Clusters are matched with known classes by the share of a cluster that has each label. Their
    sizes are handed to these by the rank of counts, the smallest to the smallest; the sizes that
    remain to new outputs by the rank of how often those are `predicted`, where the code hands them
    out in the order of outputs. A size is one row at least.
    """
    classes = len(counts)
    known = labels[labels != UNKNOWN].unique()
    sizes = clusters.bincount(minlength=classes).to(counts).clamp(min=1)
    told = labels != UNKNOWN
    pairs = (clusters[told] * classes + labels[told]).bincount(minlength=classes**2)
    table = pairs.view(classes, classes).to(sizes) / sizes[:, None]
    chosen = linear_sum_assignment(table[:, known].cpu().numpy(), maximize=True)[0]
    matched = torch.zeros(classes, dtype=torch.bool, device=labels.device)
    matched[torch.as_tensor(chosen, device=labels.device)] = True
    found = torch.empty_like(sizes)
    found[known[counts[known].argsort(stable=True)]] = sizes[matched].sort().values
    new = torch.ones_like(matched)
    new[known] = False
    outputs = new.nonzero()[:, 0]
    often = predicted.bincount(minlength=classes)[outputs].argsort(stable=True)
    found[outputs[often]] = sizes[~matched].sort().values
    return found / found.sum()
