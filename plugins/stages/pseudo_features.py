"""Pseudo-features: rare classes borrow the spread of a common one (Petit et al., WACV 2023)."""

from dataclasses import replace

import torch
import torch.nn.functional as F

from ltbench import LogUniform, Method, Rows, Share, hookimpl


class PseudoFeatures(Method):
    """Trains plainly, then a new head on features among which rare classes are grown.

    FeTrIL makes pseudo-features of class p as feature - mean(n) + mean(p), from the rows of the
    class n whose mean is nearest by cosine, as in the paper; its code takes the Euclidean distance,
    which may name another class. It does so for past classes of incremental learning,
    and in place of their rows; for a long tail, rare classes (fewer rows than the mean) borrow
    from common ones and keep their own rows: our adaptation. The head is linear as in the paper,
    trained by SGD in a second stage as long as that of `crt`, all classes drawn equally often.
    """

    name = "pseudo-features"
    reference = "arXiv:2211.13131"
    roles = ("head",)
    corrects = "prior"
    space = {"share": LogUniform(1 / 36, 4 / 9)}

    def __init__(self, share: Share = 1 / 9):
        self.share = share

    def phases(self, plan, run):
        epochs = max(1, round(self.share * plan[-1].epochs))
        stage = {"epochs": epochs, "learn": "head", "reset": "head", "frozen_bn": True}
        return [*plan, replace(plan[-1], role="head", on_features=True, **stage)]

    def enter(self, train, run):
        return grown(run.features(train.inputs), train.labels)

    def sampling_weights(self, labels, run):
        return (1 / labels.bincount())[labels]


def grown(features, labels):
    """The rows and, after them, those of each rare class's common neighbour, moved to its mean."""
    counts = labels.bincount()
    total = features.new_zeros(len(counts), features.shape[1]).index_add(0, labels, features)
    means = total / counts[:, None]
    common = counts >= counts.sum() / len(counts)
    directions = F.normalize(means)
    likeness = (directions @ directions.T).masked_fill(~common, -2)  # below any cosine
    rows, classes = [features], [labels]
    for rare in (~common & (counts > 0)).nonzero()[:, 0]:  # no rows have no mean to move to
        near = likeness[rare].argmax()
        borrowed = features[labels == near] - means[near] + means[rare]
        rows.append(borrowed)
        classes.append(rare.expand(len(borrowed)))
    return Rows(torch.cat(rows), torch.cat(classes))


@hookimpl
def register_methods(register):
    register(PseudoFeatures)
