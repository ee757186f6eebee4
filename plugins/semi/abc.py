"""ABC: a second classifier learns from rows drawn against the imbalance (Lee et al., 2021)."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ltbench import NonNegative, hookimpl
from ltbench.tracks.semi.contract import POOL, SemiSupervised


class ABC(SemiSupervised):
    """A second linear head on the same features, which learns from every class alike and decides.

    A labelled row of class y counts with probability n_min / n_y. A row of the pool of which this
    head is surer than `threshold` teaches its soft label, counted with a probability that goes from
    1 to n_min / n of its likeliest class over the training. Means are over all rows. The first
    head learns as the rest of the recipe says; the paper's is `fixmatch+abc`. Departure: one strong
    view, the paper has two.
    """

    name = "abc"
    reference = "arXiv:2110.10368"
    needs = frozenset({POOL})
    corrects = "prior"

    def __init__(self, threshold: NonNegative = 0.95):
        self.threshold = threshold

    def build(self, model, run):
        model.head = TwoHeads(model.head, run.num_classes)
        return model

    def extra(self, output, batch, run):
        head = getattr(run.model, "head", None)
        if not isinstance(head, TwoHeads):
            return None
        scores, rarest = head.balanced(output.features[: len(batch.rows)]), run.counts.min()
        loss = 0
        for labels, share in batch.targets:
            counted = drawn(rarest / run.counts[labels], run)
            loss = loss + (share * counted * cross_entropy(scores, labels, reduction="none")).mean()
        return loss

    def unlabelled_loss(self, weak, strong, rows, run):
        head = run.model.head
        soft = head.balanced(weak.features).softmax(dim=1)
        sure, labels = soft.max(dim=1)
        often = 1 - run.progress * (1 - run.counts.min() / run.counts[labels])
        counted = (sure >= self.threshold) * drawn(often, run)
        scores = head.balanced(strong.features)
        return (counted * cross_entropy(scores, soft, reduction="none")).mean()


class TwoHeads(nn.Module):
    """The head that a recipe trains, and a `balanced` one that decides."""

    def __init__(self, head, num_classes):
        super().__init__()
        self.plain, self.in_features = head, head.in_features
        self.balanced = nn.Linear(head.in_features, num_classes)

    def forward(self, features):
        return self.plain(features) if self.training else self.balanced(features)


def drawn(often, run):
    """1 with the probabilities `often` [N], else 0."""
    chance = torch.rand(often.shape, generator=run.rng, device=run.rng.device)
    return (chance.to(often) < often).to(often)


@hookimpl
def register_methods(register):
    register(ABC)
