"""Relation mixup: blends of classes that are taken for each other (after Ashraf et al., 2025)."""

from dataclasses import replace

import torch

from ltbench import LogUniform, Method, Positive, hookimpl
from ltbench_plugins.sampling.mixup import beside

FIRST, LAST = 0.5, 0.99  # of the mean over steps, at the start and from the half of training on


class RelationMixup(Method):
    """Blends each row with one of a class that it is confused with; one share a batch.

    Of R [C, C], how often rows of a class (down) are taken for each (across), a mean over steps is
    kept. A class that is recognised more often than the mean of classes is blended with those that
    are taken for it, by its column; any other with those that it is taken for, by its row. A class
    that is never confused is blended with itself. So rare classes come more often than they are.

    The paper detects objects without source data, and blends crops of 50 a class, which a teacher
    labels; ours are whole rows, partners are drawn from all training rows of the class, and what
    counts is the label with the larger share. The mean's momentum rises as in its code, which knows
    a burn-in where this has the whole training.
    """

    name = "relation-mixup"
    reference = "arXiv:2504.15404"
    corrects = "prior"
    space = {"alpha": LogUniform(0.1, 4.0)}

    def __init__(self, alpha: Positive = 0.5):
        self.alpha = alpha

    def prepare(self, run):
        if run.train is not None:
            labels = run.train.labels
            self.counts = labels.bincount(minlength=run.num_classes)
            self.by_class = labels.argsort(stable=True)
            self.starts = self.counts.cumsum(0) - self.counts

    def build(self, model, run):
        classes = run.num_classes
        model.register_buffer("relations", run.counts.new_full((classes, classes), 1 / classes))
        return model

    def batch(self, batch, run):
        if run.train is None:  # a probe, which has nothing to draw from
            return batch
        n, x = len(batch.rows), batch.inputs
        both = torch.full((2,), float(self.alpha), device=x.device)
        share = torch._sample_dirichlet(both, generator=run.rng)[0]  # its first part is Beta
        chances = partners(run.model.relations, self.counts)[batch.targets[0][0]]
        classes = chances.multinomial(1, generator=run.rng)[:, 0]
        places = torch.rand(n, generator=run.rng, device=x.device, dtype=torch.float64)
        drawn = self.starts[classes] + (places * self.counts[classes]).long()
        other = run.train[self.by_class[drawn]]
        return replace(
            batch,
            inputs=beside(torch.lerp(run.augment(other.inputs), x[:n], share), x[n:]),
            targets=[
                pair
                for labels, of in batch.targets
                for pair in ((labels, share * of), (other.labels, (1 - share) * of))
            ],
            groups=tuple(g for own in batch.groups for g in (own, other.groups)),
        )

    @torch.no_grad()
    def extra(self, output, batch, run):
        relations = getattr(run.model, "relations", None)
        if relations is None or len(batch.targets) < 2:
            return
        (labels, share), (others, rest) = batch.targets[:2]
        truth = torch.where(torch.as_tensor(share >= rest), labels, others)
        found = output.heads[0][: len(batch.rows)].argmax(dim=1)
        cells = (truth * len(relations) + found).bincount(minlength=relations.numel())
        seen = cells.reshape(relations.shape).to(relations.dtype)
        rows = seen.sum(dim=1, keepdim=True)
        kept = momentum(run.progress)
        relations.lerp_(seen / rows.clamp(min=1), (1 - kept) * (rows > 0))


def momentum(progress):
    """What a mean keeps at that share of the training."""
    return (FIRST + (LAST - FIRST) * (2 * progress) ** 3).clamp(max=LAST)


def partners(relations, counts):
    """The chances [C, C] of each class (across) to be blended with a class (down)."""
    right = relations.diagonal()
    confused = relations - torch.diag(right)
    chances = torch.where((right > right.mean())[:, None], confused.T, confused) * (counts > 0)
    alone = chances.sum(dim=1) == 0
    return chances + torch.diag(alone.to(chances))


@hookimpl
def register_methods(register):
    register(RelationMixup)
