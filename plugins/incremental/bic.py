"""Bias correction between old and new classes (Wu et al., CVPR 2019)."""

import torch
import torch.nn.functional as F

from ltbench import LogUniform, NonNegative, Positive, Share, hookimpl
from ltbench.tracks.incremental.contract import PAST, ClassIncremental, old_classes, past_of
from ltbench_plugins.incremental.lwf import distillation, of_heads
from ltbench_plugins.stages.bic import fitted


class IncrementalBiC(ClassIncremental):
    """Distils, then turns the scores z of new classes into alpha z + beta, fitted to a slice.

    The loss is 1 - a times cross-entropy and a times the distillation of old classes, for the share
    a of classes that are old; what is distilled are the earlier network's corrected scores. Out of
    the rows of each class, `share` of what memory holds of an old one, one row at least, are put
    aside before training, as many of new classes. Once the network stands, alpha and beta are
    fitted to the slice by cross-entropy plus `decay` * beta^2 / 2, from alpha 1 and beta 0. A class
    of one row has none to put aside. Pairs of earlier tasks stay as they were, and act in training
    and prediction alike, as in FACIL; the authors' code applies the last pair alone.

    Departures: the fit is exact, by L-BFGS, where theirs takes SGD for twice the epochs, and their
    weight decay, which falls with each task, is the protocol's.
    """

    name = "incremental-bic"
    reference = "arXiv:1905.13260"
    needs = frozenset({PAST})
    space = {"decay": LogUniform(0.001, 10.0)}

    def __init__(self, share: Share = 0.1, decay: NonNegative = 0.1, temperature: Positive = 2.0):
        self.share = share
        self.decay = decay
        self.temperature = temperature

    def resample(self, train, run):
        self.aside = None
        if not old_classes(run):
            return train
        aside = put_aside(train.labels, old_classes(run), self.share, run)
        self.aside = train[aside.nonzero()[:, 0]] if aside.any() else None
        return train[(~aside).nonzero()[:, 0]]

    def build(self, model, run):
        ones = next(model.parameters()).new_ones(run.num_classes)
        model.register_buffer("bias_scale", ones)
        model.register_buffer("bias_shift", torch.zeros_like(ones))
        return model

    def adjust(self, scores, labels, run):
        return self.scores(scores, run)

    def criterion(self, scores, labels, run):
        share = old_classes(run) / run.num_classes
        return (1 - share) * F.cross_entropy(scores, labels, reduction="none")

    def extra(self, output, batch, run):
        past = past_of(run)
        if past is None:
            return None
        share = past.old / run.num_classes
        taught = past.scores(batch.inputs)
        return share * distillation(self.scores(of_heads(output), run), taught, self.temperature)

    def finish(self, model, validation, run):
        old, rows, self.aside = old_classes(run), getattr(self, "aside", None), None
        if not old:
            return model
        if rows is None:
            run.note("no row can be put aside, so scores of new classes stay as they are")
            return model
        new = torch.arange(run.num_classes, device=rows.labels.device) >= old
        scores = self.scores(run.scores(rows.inputs), run)
        alpha, beta = fitted(scores, rows.labels, new, self.decay)
        run.note(
            f"scores z of the classes of task {past_of(run).task + 1} become "
            f"{alpha:.3g} * z + {beta:.3g}"
        )
        model.bias_scale.copy_(torch.where(new, alpha, model.bias_scale))
        model.bias_shift.copy_(torch.where(new, beta, model.bias_shift))
        return model

    def scores(self, scores, run):
        if not hasattr(run.model, "bias_scale"):
            return scores
        return scores * run.model.bias_scale + run.model.bias_shift


def put_aside(labels, old, share, run):
    """Which rows [N] are put aside: as many of each class, by what there is of an old one.

    A class of one row gives none, and one that has too few leaves a row to train on.
    """
    counts = labels.bincount()
    kept = counts[:old][counts[:old] > 0]
    if not len(kept) or kept.max() < 2:
        return torch.zeros_like(labels, dtype=torch.bool)
    number = max(1, round(share * float(kept.float().mean())))
    order = torch.randperm(len(labels), generator=run.rng, device=run.rng.device).to(labels.device)
    known = labels[order]
    by_class = order[known.argsort(stable=True)]
    starts = counts.cumsum(0) - counts
    rank = torch.arange(len(labels), device=labels.device) - starts[labels[by_class]]
    within = rank < (counts - 1).clamp(min=0, max=number)[labels[by_class]]
    aside = torch.zeros_like(labels, dtype=torch.bool)
    aside[by_class[within]] = True
    return aside


@hookimpl
def register_methods(register):
    register(IncrementalBiC)
