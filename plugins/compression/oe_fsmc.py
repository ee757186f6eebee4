"""OE-FSMC, reconstructed: other images restore the balance that few rows lack (Wu et al., 2025).

arXiv:2502.05832. No code is public and the paper's body was out of reach: that other images serve
both stages, that their labels are assigned afresh and complement the classes, that a joint
distillation loss and a decaying class-dependent term are used and training stops early is stated by
its abstracts; the formulas start from open-set sampling (arXiv:2206.08802, ICML 2022) or are chosen
here. docs/compression.md tells which is which.
"""

import copy

import torch
import torch.nn.functional as F

from ltbench import LogUniform, NonNegative, Share, hookimpl
from ltbench.contract.context import scored
from ltbench.tracks.compression.contract import Compressor
from ltbench.tracks.compression.pruning import Graph, watched

NOTE = "origin: reconstruction"
HELD_FROM = 5  # rows a class from which one in five is put aside


class OEFSMC(Compressor):
    """Adds other images to whatever compresses: to its fits, its distillation and a loss of labels.

    At each step as many of them as there are rows pass by themselves, with their own batch
    statistics and none of it kept. Each draws a label from the complement of the prior, gamma_c
    proportional to max + min - n_c. The loss gains `lam` times the label-free loss of the other
    methods on them, and `rho` times their cross-entropy weighed by C gamma_c, which falls to
    nothing at the share `decay` of the training (0: never). Where a method fits to inputs alone
    they join, all together with `lam` times the weight of the rows. `patience` keeps one in five
    rows of classes with five or more out, watches the label-free loss and the teacher's agreement
    there, and takes the best network before it stays worse for that share of the training (0: the
    last). With `class_aware`, filters count by the mean over classes of their effect on the
    teacher's loss, to which other images add `eta` times theirs.
    """

    name = "oe-fsmc"
    reference = "arXiv:2502.05832"
    needs = frozenset({"ood"})
    neutral = {"lam": 0.0, "rho": 0.0}
    space = {"lam": LogUniform(0.03, 3.0), "rho": LogUniform(0.005, 0.5)}

    def __init__(
        self,
        lam: NonNegative = 0.3,
        rho: NonNegative = 0.05,
        decay: Share = 0.6,
        patience: Share = 0.0,
        class_aware: bool = False,
        eta: NonNegative = 0.0,
    ):
        self.lam = lam
        self.rho = rho
        self.decay = decay
        self.patience = patience
        self.class_aware = class_aware
        self.eta = eta
        self.held = None

    def importance(self, model, run):
        return class_aware(run, self.eta) if self.class_aware else None

    def unlabelled(self, run):
        run.note(NOTE)
        if not self.lam:
            return None
        weight = self.lam * len(run.train) / len(run.granted.ood)  # all of them count as in a step
        return run.granted.ood, run.counts.new_full((len(run.granted.ood),), weight)

    def enter(self, train, run):
        run.note(NOTE)
        self.held = self.best = None
        if not (self.patience and (self.lam or self.rho)):
            return train
        aside = one_in_five(train.labels, run)
        if aside.any():
            self.held, self.least, self.since = train[aside], torch.inf, 0.0
        return train[~aside]

    def prepare(self, run):
        self.gamma = complement(run.counts)
        if self.held is not None:
            self.watch(run)

    def batch(self, batch, run):
        if self.lam or self.rho:
            device = run.granted.ood.device
            chosen = torch.randint(
                len(run.granted.ood), (len(batch.rows),), generator=run.rng, device=device
            )
            self.inputs = run.views.augmented(run.granted.ood[chosen], run.rng)
            self.labels = torch.multinomial(self.gamma, len(chosen), True, generator=run.rng)
        return batch

    def extra(self, output, batch, run):
        if not (self.lam or self.rho):
            return None
        aside = run.aside(self.inputs)
        run.passes += len(self.inputs)
        total = self.strength(run) * self.of_labels(run.recipe.combine(aside, run))
        mimic = run.recipe.mimic(aside, self.inputs, run) if self.lam else None
        return total if mimic is None else total + self.lam * mimic

    def strength(self, run):
        return self.rho * (1 - run.progress / self.decay).clamp(min=0) if self.decay else self.rho

    def of_labels(self, scores):
        """The mean cross-entropy of drawn labels, weighed by C gamma_c."""
        weights = len(self.gamma) * self.gamma[self.labels]
        return (weights * F.cross_entropy(scores, self.labels, reduction="none")).mean()

    @torch.no_grad()
    def watch(self, run):
        """Keeps the network if it does better than before on the rows put aside."""
        if run.progress - self.since > self.patience:
            return
        inputs = run.plain(self.held.inputs)
        output, taught = (
            scored(run.model, run.features(self.held.inputs)),
            run.granted.taught(inputs),
        )
        mimic = run.recipe.mimic(output, inputs, run)
        labels = [run.recipe.combine(one, run).argmax(dim=1) for one in (output, taught)]
        agrees = (labels[0] == labels[1]).to(run.counts)
        of_class = [agrees[self.held.labels == c].mean() for c in self.held.labels.unique()]
        gap = (0 if mimic is None else mimic) + 1 - torch.stack(of_class).mean()
        if gap < self.least:
            self.least, self.since = gap, run.progress.clone()
            self.best = copy.deepcopy(run.model.state_dict())

    def finish(self, model, validation, run):
        if self.held is not None and self.best is not None:
            self.watch(run)
            model.load_state_dict(self.best)
        return model


def complement(counts):
    """The chance gamma_c [C] of each class to label another image, by what the prior lacks."""
    gamma = counts.max() + counts.min() - counts
    return gamma / gamma.sum()


def one_in_five(labels, run):
    """Which rows [N] are put aside: by chance, one in five of each class that has five or more."""
    chance = torch.rand(len(labels), generator=run.rng, device=labels.device)
    aside = torch.zeros_like(labels, dtype=torch.bool)
    counts = labels.bincount(minlength=run.num_classes)
    for c in (counts >= HELD_FROM).nonzero()[:, 0]:
        rows = (labels == c).nonzero()[:, 0]
        aside[rows[chance[rows].argsort()[: len(rows) // 5]]] = True
    return aside


def class_aware(run, eta):
    """The effect [K] of each filter on the teacher's loss: the mean of the classes' means."""
    labels = run.train.labels
    share = 1 / (run.num_classes * labels.bincount(minlength=run.num_classes)[labels])
    scores = effects(run, run.train.inputs, labels, share)
    if eta:
        drawn = torch.multinomial(
            complement(run.counts), len(run.granted.ood), True, generator=run.rng
        )
        others = effects(
            run, run.granted.ood, drawn, torch.full_like(drawn, eta / len(drawn), dtype=float)
        )
        scores = {name: score + others[name] for name, score in scores.items()}
    return scores


def effects(run, inputs, labels, share):
    """The sum over rows of `share` times |sum over pixels of activation x gradient|, by layer."""
    teacher = copy.deepcopy(run.granted.teacher).requires_grad_(True)
    names = list(Graph(teacher, run).layers)
    scores = dict.fromkeys(names, 0.0)
    parts = zip(inputs.split(256), labels.split(256), share.split(256), strict=True)
    for x, y, weight in parts:
        with torch.enable_grad(), watched(teacher, names) as seen:
            loss = F.cross_entropy(teacher(run.plain(x.to(run.device))), y, reduction="sum")
            outputs = [seen[name][1] for name in names]
            gradients = torch.autograd.grad(loss, outputs)
        for name, a, g in zip(names, outputs, gradients, strict=True):
            effect = (a * g).detach().flatten(2).sum(dim=2) if a.dim() > 2 else (a * g).detach()
            scores[name] = scores[name] + weight.to(effect) @ effect.abs()
    return scores


@hookimpl
def register_methods(register):
    register(OEFSMC)
