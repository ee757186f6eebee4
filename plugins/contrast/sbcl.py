"""Subclass-balancing contrastive learning (SBCL: Hou et al., ICCV 2023)."""

from dataclasses import replace
from typing import Annotated

import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import nn

from ltbench import LogUniform, Method, NonNegative, Positive, Share, hookimpl
from ltbench.toolbox import another_view, contrast

WIDTH = 128  # of what is contrasted
ROUNDS = 10  # of k-means; our choice


class SBCL(Method):
    """Learns features by contrast of sub-classes as small as the rarest class, then a classifier.

    Each class is split into clusters of at most max(n_min, delta) rows. A row is drawn to its
    sub-class by one contrast and, `beta` times, to the rest of its class by another, whose
    temperature follows the spread of the class. The classifier learns on frozen features with all
    classes drawn equally often; other methods act in that stage.

    beta, delta and the temperature are those of the authors' code, which also multiplies the first
    term by 0.1 / 0.07 and keeps a row's other view in the second. It splits n rows into n // cap
    clusters of any size, by plain k-means; here they are the least that hold no more than the cap,
    so that a class of one to two caps is split, too. Our choice are clusters made anew at each
    epoch (every tenth of 1,000 there), SupCon alone for the first `warmup` of the epochs, and
    `share`, the length of the classifier's stage.
    """

    name = "sbcl"
    reference = "arXiv:2306.15925"
    roles = ("contrast", "main")
    corrects = "prior"
    space = {"beta": LogUniform(0.05, 1.0), "temperature": LogUniform(0.05, 0.5)}

    def __init__(
        self,
        beta: NonNegative = 0.25,
        delta: Annotated[int, Meta(ge=1)] = 10,
        temperature: Positive = 0.1,
        warmup: Share = 0.1,
        share: Positive = 0.2,
    ):
        self.beta = beta
        self.delta = delta
        self.temperature = temperature
        self.warmup = warmup
        self.share = share

    def build(self, model, run):
        width = model.head.in_features
        model.projector = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, WIDTH))
        return model

    def phases(self, plan, run):
        at = next(i for i, phase in enumerate(plan) if phase.role == "main")
        features = replace(plan[at], role="contrast")
        epochs = max(1, round(self.share * plan[at].epochs))
        stage = {"epochs": epochs, "learn": "head", "reset": "head", "frozen_bn": True}
        return [*plan[:at], features, replace(plan[at], **stage), *plan[at + 1 :]]

    def sampling_weights(self, labels, run):
        return None if contrasting(run) else (1 / labels.bincount())[labels]

    @torch.no_grad()
    def prepare(self, run):
        if not contrasting(run):
            return
        labels = run.train.labels
        z = F.normalize(run.model.projector(run.features(run.train.inputs)))
        most = max(int(run.counts.min()), self.delta)
        split = run.progress >= self.warmup
        self.subclasses = clusters(z, labels, most, run.rng) if split else labels
        spread = self.temperature * relative_spread(z, labels, run.num_classes)
        several = labels.bincount(minlength=run.num_classes) > most
        self.temperatures = torch.where(several, spread, self.temperature)

    def batch(self, batch, run):
        if not contrasting(run):
            return batch
        return replace(batch, inputs=torch.cat([batch.inputs, another_view(batch, run)]))

    def adjust(self, scores, labels, run):
        return torch.zeros_like(scores) if contrasting(run) else scores  # the classifier rests

    def extra(self, output, batch, run):
        if not contrasting(run):
            return None
        z = F.normalize(run.model.projector(output.features[: 2 * len(batch.rows)]))
        labels, subclasses = run.train.labels[batch.rows], self.subclasses[batch.rows]
        known = (labels, subclasses, self.temperatures[labels])
        given = (of.repeat(2) for of in known)
        return two_granularities(z, *given, self.temperature, self.beta)


def contrasting(run):
    return run.phase.role == "contrast"


def two_granularities(z, labels, subclasses, temperatures, temperature, beta):
    """Contrast within sub-classes, and beta times that within the rest of the class.

    z [N, D] are unit vectors; `temperatures` [N] are those of each row's class. The second leaves
    out the row's own sub-class, and with it the row's other view.
    """
    cosines = z @ z.T
    together = subclasses[:, None] == subclasses
    others = ~torch.eye(len(z), dtype=torch.bool, device=z.device)
    kin = (labels[:, None] == labels) & ~together
    fine = contrast(cosines / temperature, together & others, others)
    return fine + beta * contrast(cosines / temperatures[:, None], kin, ~together)


def relative_spread(z, labels, num_classes):
    """How wide each class lies around its centre, next to the mean class, as in the paper's code.

    The mean distance is divided by log(n_c + 10) and kept within the middle 60 % of classes; a
    collapsed class is held at a tenth, our choice.
    """
    n_c = labels.bincount(minlength=num_classes).to(z.dtype)
    centres = z.new_zeros(num_classes, z.shape[1]).index_add_(0, labels, z) / n_c[:, None]
    distances = (z - centres[labels]).norm(dim=1)
    spread = labels.bincount(distances, minlength=num_classes) / n_c / (n_c + 10).log()
    low, high = spread.quantile(0.2), spread.quantile(0.8)
    spread = spread.clamp(low, high).to(z.dtype)
    return (spread / spread.mean().clamp(min=torch.finfo(z.dtype).tiny)).clamp(min=0.1)


def clusters(z, labels, most, rng):
    """A number [N] for each row's cluster: parts of its class with at most `most` rows each.

    Clusters are found by k-means on unit vectors z [N, D].
    """
    found, first = torch.empty_like(labels), 0
    for c in labels.unique():
        rows = (labels == c).nonzero()[:, 0]
        parts = -(-len(rows) // most)
        found[rows] = first + (k_means(z[rows], parts, most, rng) if parts > 1 else 0)
        first += parts
    return found


def k_means(x, parts, most, rng):
    """The part of each unit vector x [N, D], none of more than `most`; it starts at random rows."""
    centres = x[torch.randperm(len(x), generator=rng, device=x.device)[:parts]]
    for _ in range(ROUNDS):
        part = with_room(x @ centres.T, most)
        sums = torch.zeros_like(centres).index_add_(0, part, x)
        centres = F.normalize(torch.where(sums.any(1, keepdim=True), sums, centres))
    return part


def with_room(similarity, most):
    """The most similar part of each row, in turns: a full part keeps the rows most similar to it.

    The rows that found no room go to the most similar part that has some left.
    """
    n, parts = similarity.shape
    part = similarity.new_full((n,), -1, dtype=torch.long)
    room = torch.full((parts,), most, device=similarity.device)
    while len(seeking := (part < 0).nonzero()[:, 0]):
        best, wish = similarity[seeking].masked_fill(room == 0, -torch.inf).max(1)
        order = best.argsort(descending=True, stable=True)
        order = order[wish[order].argsort(stable=True)]  # by part, the most similar rows first
        wished = wish[order]
        place = torch.arange(len(order), device=order.device) - torch.searchsorted(wished, wished)
        taken = order[place < room[wished]]
        part[seeking[taken]] = wish[taken]
        room -= wish[taken].bincount(minlength=parts)
    return part


@hookimpl
def register_methods(register):
    register(SBCL)
