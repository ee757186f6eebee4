"""Elastic weight consolidation (Kirkpatrick et al., PNAS 2017), as in PyCIL."""

import torch
import torch.nn.functional as F

from ltbench import LogUniform, NonNegative, Positive, hookimpl
from ltbench.tracks.incremental.contract import old_classes
from ltbench_plugins.incremental.finetune import ExemplarFree, of_task


class EWC(ExemplarFree):
    """Cross-entropy over the new classes, plus a pull of each weight to where it was.

    The pull is `strength` times sum F (w - w*)^2 / 2 over the weights w* that the task before
    left; rows that have grown since are free. F is the mean over batches of the squared gradient
    of a batch's mean loss over all classes, `largest` at most, which depends on the size of batches
    and is far smaller than Fisher's information of single rows; so it is in PyCIL. After a task F
    is a F_old + (1 - a) F_new, for the share a of classes that are old. Departures: F is taken in
    evaluation mode, where PyCIL's pass moves the statistics of BatchNorm, and over batches that
    `run.rng` draws.
    """

    name = "ewc"
    reference = "arXiv:1612.00796"
    space = {"strength": LogUniform(10.0, 1e6)}

    def __init__(
        self,
        strength: NonNegative = 1000.0,
        largest: Positive = 1e-4,
        batch_size: int = 128,
    ):
        self.strength = strength
        self.largest = largest
        self.batch_size = batch_size

    def adjust(self, scores, labels, run):
        return of_task(scores, run)

    def extra(self, output, batch, run):
        if not old_classes(run) or not self.strength:
            return None
        weights = dict(run.model.named_parameters())
        return self.strength * pull(weights, self.anchor, self.fisher)

    def remember(self, train, room, run):
        order = torch.randperm(len(train), generator=run.rng, device=run.rng.device)
        fresh = fisher(run, train, order.to(train.labels.device).split(self.batch_size))
        old = old_classes(run) / run.num_classes
        for name, information in fresh.items():
            information.clamp_(max=self.largest)
            if old and name in self.fisher:
                before = self.fisher[name]
                within = information[: len(before)] if information.dim() else information
                within.mul_(1 - old).add_(old * before)
        weights = run.model.named_parameters()
        self.anchor = {name: weight.detach().clone() for name, weight in weights}
        self.fisher = fresh
        return super().remember(train, room, run)


def pull(weights, anchor, fisher):
    """sum F (w - w*)^2 / 2 over named weights w, whose first rows alone had been there."""
    terms = []
    for name, weight in weights.items():
        if name in anchor:
            before = anchor[name]
            own = fisher[name]
            weight = weight[: len(before)] if weight.dim() else weight
            own = own[: len(before)] if own.dim() else own
            terms.append((own * (weight - before).square()).sum() / 2)
    return torch.stack(terms).sum()


def fisher(run, rows, batches):
    """The mean over batches of positions of the squared gradient of their mean cross-entropy, by
    the name of each weight, with the network in evaluation mode."""
    model = run.model
    before = {name: weight.requires_grad for name, weight in model.named_parameters()}
    model.requires_grad_(True)
    total = {name: torch.zeros_like(weight) for name, weight in model.named_parameters()}
    for some in batches:
        with torch.enable_grad():
            features = run.through(model, run.plain(rows.inputs_at(some)))
            heads = model.head(features)
            scores = heads if torch.is_tensor(heads) else torch.stack(tuple(heads)).mean(0)
            loss = F.cross_entropy(scores, rows.labels[some])
            slopes = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        for name, slope in zip(total, slopes, strict=True):
            if slope is not None:
                total[name] += slope.square()
    for name, weight in model.named_parameters():
        weight.requires_grad_(before[name])
    return {name: sum_ / len(batches) for name, sum_ in total.items()}


@hookimpl
def register_methods(register):
    register(EWC)
