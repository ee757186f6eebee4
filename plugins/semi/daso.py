"""DASO: pseudo-labels blended with those of the nearest class mean (Oh et al., CVPR 2022)."""

import torch
from torch.nn.functional import normalize, one_hot

from ltbench import NonNegative, Positive, Share, hookimpl
from ltbench.tracks.semi.contract import POOL, SemiSupervised

KEPT, STEPS = 256, 100  # features of a class; steps whose pseudo-labels are counted


class DASO(SemiSupervised):
    """Beliefs p become (1 - v_k) p + v_k q, where q is softmax(cos(features, class means) / T).

    k is the likeliest class of p, and v the share of each class among the pseudo-labels of the last
    steps to the power 1 / `power`, over its maximum: frequent ones are blended most. Class means
    are of the last 256 labelled features of each class. `alignment` times the cross-entropy of
    strong views' nearness with q is added. Both begin at the share `warmup` of the training. The
    paper takes `power` 1.5 where it knows that the pool is like the labelled rows, else 0.3.
    FixMatch stands beside it in a recipe. Departure: features are of the network, the code's of
    its mean.
    """

    name = "daso"
    reference = "arXiv:2106.05682"
    needs = frozenset({POOL})

    def __init__(
        self,
        power: Positive = 1.5,
        temperature: Positive = 0.05,
        alignment: NonNegative = 1.0,
        warmup: Share = 0.02,
    ):
        self.power, self.temperature = power, temperature
        self.alignment, self.warmup = alignment, warmup

    def build(self, model, run):
        like, classes = run.counts, run.num_classes
        model.register_buffer("daso_kept", like.new_zeros(classes, KEPT, model.head.in_features))
        model.register_buffer("daso_seen", torch.zeros_like(like, dtype=torch.long))
        model.register_buffer("daso_told", like.new_zeros(STEPS, classes))
        model.register_buffer("daso_steps", torch.zeros((), dtype=torch.long, device=run.device))
        return model

    def extra(self, output, batch, run):
        if hasattr(run.model, "daso_kept"):
            labels, features = batch.targets[0][0], output.features[: len(batch.rows)].detach()
            keep(features, labels, run.model.daso_kept, run.model.daso_seen)
        return None

    def believe(self, probabilities, rows, run):
        model = run.model
        told = probabilities
        if run.progress >= self.warmup:
            near = self.nearness(run.recipe.weak.features, run).softmax(dim=1)
            told = blended(probabilities, near, model.daso_told.sum(dim=0), self.power)
        place = (model.daso_steps % STEPS)[None]
        counts = told.argmax(dim=1).bincount(minlength=run.num_classes)
        model.daso_told.index_copy_(0, place, counts.to(model.daso_told)[None])
        model.daso_steps += 1
        return told

    def unlabelled_loss(self, weak, strong, rows, run):
        if run.progress < self.warmup or self.alignment == 0:
            return None
        target = self.nearness(weak.features, run).softmax(dim=1)
        logs = self.nearness(strong.features, run).log_softmax(dim=1)
        return -self.alignment * (target * logs).sum(dim=1).mean()

    def nearness(self, features, run):
        """The cosine [M, C] of features with each class's mean, over the temperature."""
        seen = run.model.daso_seen.clamp(min=1, max=KEPT)
        means = run.model.daso_kept.sum(dim=1) / seen[:, None]
        return normalize(features) @ normalize(means).T / self.temperature


def blended(probabilities, near, told, power):
    """Beliefs [M, C] of the head and of class means, by how often each class is told [C] lately."""
    often = (told / told.sum().clamp(min=1)) ** (1 / power)
    share = (often / often.max().clamp(min=1e-12))[probabilities.argmax(dim=1), None]
    return (1 - share) * probabilities + share * near


def keep(features, labels, kept, seen):
    """Puts features [N, D] in the place of the oldest ones of their classes in `kept` [C, K, D]."""
    own = one_hot(labels, len(seen))
    before = (own.cumsum(dim=0) - own).gather(1, labels[:, None])[:, 0]
    kept[labels, (seen[labels] + before) % kept.shape[1]] = features.to(kept)
    seen += own.sum(dim=0)


@hookimpl
def register_methods(register):
    register(DASO)
