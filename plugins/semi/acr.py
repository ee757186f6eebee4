"""ACR: how much pseudo-labels are adjusted follows from the pool's shape (Wei and Gan, 2023)."""

import torch
from torch.nn.functional import cross_entropy

from ltbench import NonNegative, Share, hookimpl
from ltbench.tracks.semi.contract import POOL, SemiSupervised, pool_of
from ltbench_plugins.semi.abc import TwoHeads


class ACR(SemiSupervised):
    """Two heads: a plain one, and a balanced one that learns by z + tau log pi and decides.

    Pseudo-labels of the plain head are those of its scores less tau_t log pi, of the balanced one
    those of the plain head's less tau log pi, where they or the head's own beliefs reach the
    `threshold`. tau_t is tau times the share that exp D_con has among exp D_con, exp D_uni and
    exp D_rev, which are the symmetric divergences between the estimated shares of the pool and
    those of labelled rows, alike, and turned round. It is tau / 3 until the share `warmup` of the
    training. Departures: the estimate counts rows, where the code counts in how many batches a
    class occurs; it moves once for each time that as many rows passed as the pool has; shares are
    turned round by counts, not by the class's number; one strong view.
    """

    name = "acr"
    needs = frozenset({POOL})
    corrects = "prior"

    def __init__(
        self,
        tau: NonNegative = 2.0,
        threshold: NonNegative = 0.95,
        ema: Share = 0.9,
        warmup: Share = 0.02,
    ):
        self.tau, self.threshold, self.ema, self.warmup = tau, threshold, ema, warmup

    def build(self, model, run):
        model.head = TwoHeads(model.head, run.num_classes)
        model.register_buffer("acr_shares", torch.full_like(run.counts, 1 / run.num_classes))
        model.register_buffer("acr_counts", torch.zeros_like(run.counts))
        model.register_buffer("acr_passed", run.counts.new_zeros(()))
        return model

    def extra(self, output, batch, run):
        head = getattr(run.model, "head", None)
        if not isinstance(head, TwoHeads):
            return None
        scores = head.balanced(output.features[: len(batch.rows)]) + self.tau * log_shares(run)
        each = ((share, cross_entropy(scores, y, reduction="none")) for y, share in batch.targets)
        return sum((share * loss).mean() for share, loss in each)

    def unlabelled_loss(self, weak, strong, rows, run):
        head, plain = run.model.head, weak.heads[0]
        own = head.balanced(weak.features)
        loss = 0
        for scores, seen, tau in (
            (strong.heads[0], plain, self.strength(run)),
            (head.balanced(strong.features), own, self.tau),
        ):
            adjusted = (plain - tau * log_shares(run)).softmax(dim=1)
            sure = (adjusted.max(dim=1).values >= self.threshold) | confident(seen, self.threshold)
            labels = adjusted.argmax(dim=1)
            loss = loss + (sure * cross_entropy(scores, labels, reduction="none")).mean()
        self.follow(own, run)
        return loss

    def strength(self, run):
        """tau_t, by which scores for the plain head's pseudo-labels are adjusted."""
        told = share_of_consistent(run.model.acr_shares, run.counts / run.counts.sum())
        return self.tau * torch.where(run.progress < self.warmup, 1 / 3, told)

    @torch.no_grad()
    def follow(self, scores, run):
        """Counts what the balanced head is sure of, and moves the estimate where it is time to."""
        model, sure = run.model, confident(scores, self.threshold)
        model.acr_counts += counted(scores.argmax(dim=1), sure, run.num_classes)
        model.acr_passed += len(scores)
        over = (model.acr_passed >= len(pool_of(run))) & (model.acr_counts.sum() > 0)
        told = model.acr_counts / model.acr_counts.sum().clamp(min=1)
        estimate = self.ema * model.acr_shares + (1 - self.ema) * told
        model.acr_shares.copy_(torch.where(over, estimate, model.acr_shares))
        model.acr_counts *= ~over
        model.acr_passed *= ~over


def confident(scores, threshold):
    return scores.softmax(dim=1).max(dim=1).values >= threshold


def log_shares(run):
    return (run.counts / run.counts.sum()).log()


def counted(labels, sure, classes):
    """How many rows [C] of each class there are among those that are sure."""
    return labels.bincount(sure.to(torch.float32), minlength=classes)


def share_of_consistent(estimated, labelled):
    """exp D_con over exp D_con + exp D_uni + exp D_rev, of shares [C] of the pool."""
    falling, order = labelled.sort(descending=True)
    turned = torch.empty_like(labelled)
    turned[order] = falling.flip(0)
    equal = (labelled[:, None] == labelled).to(labelled)
    turned = equal @ turned / equal.sum(dim=1)  # classes of equal counts share their mean
    anchors = torch.stack([labelled, torch.full_like(labelled, 1 / len(labelled)), turned])
    estimated = (estimated + 1e-6) / (estimated + 1e-6).sum()
    gaps = ((estimated - anchors) * (estimated.log() - anchors.log())).sum(dim=1) / 2
    return gaps.softmax(dim=0)[0]


@hookimpl
def register_methods(register):
    register(ACR)
