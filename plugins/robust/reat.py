"""REAT: attacks that visit rare classes, and features of the tail apart (Li et al., 2023)."""

import torch

from ltbench import LogUniform, Method, NonNegative, hookimpl
from ltbench.tracks.robust.contract import ATTACK, attacks
from ltbench_plugins.robust.pgd_at import attacked, with_moved

NEAR_ZERO = 1e-5


class REAT(Method):
    """Balanced softmax on rows that an attack of class weights moved, plus `tail` times a term.

    The attack maximises weighted cross-entropy. A class of n rows, as which a moved rows were
    predicted in the last epoch, weighs in proportion to 1 / (E + 1e-5) with E = (1 - b^a) / (1 - b)
    and b = (n - 1) / n; in the first epoch a is n. The term, for each row of a tail class, is the
    mean KL(softmax f_i || softmax f_j) over the batch's rows j and over the features f, times the
    mean of sqrt(1 / prior_i) + sqrt(1 / prior_j), less where j is of its class and more where not;
    f_i is detached, and the rows' mean counts. That one mean stands for every pair is the code's
    (a flag of its loss means so); the paper has a divergence for each. Nothing bounds the term from
    below. Tail classes are the smallest, from rank 2 (C // 3) + 1 on, which the code reads off
    sorted labels.
    """

    name = "reat"
    reference = "arXiv:2307.10205"
    needs = frozenset({ATTACK})
    corrects = "prior"
    space = {"tail": LogUniform(0.1, 4.0)}

    def __init__(self, tail: NonNegative = 1.0):
        self.tail = tail
        self.turned = self.fresh = False

    def build(self, model, run):
        model.register_buffer("reat_said", run.counts.clone())
        model.register_buffer("reat_saying", torch.zeros_like(run.counts))
        return model

    def prepare(self, run):
        self.turned = True  # an epoch begins

    def batch(self, batch, run):
        if not attacks(run):
            return batch
        said, saying = run.model.reat_said, run.model.reat_saying
        if self.turned and saying.sum() > 0:
            said.copy_(saying)
            saying.zero_()
        self.turned, self.fresh = False, True
        return with_moved(batch, attacked(batch, run, weights=weights(run.counts, said)))

    def adjust(self, scores, labels, run):
        return scores + run.seen.log()

    def extra(self, output, batch, run):
        labels = batch.targets[0][0]
        n = len(labels)
        if self.fresh:  # in the first pass over a batch
            said = torch.stack(output.heads).mean(dim=0)[:n].argmax(dim=1)
            run.model.reat_saying += said.bincount(minlength=run.num_classes)
            self.fresh = False
        return self.tail * apart(output.features[:n], labels, run.counts) if self.tail else None


def weights(counts, said):
    """The weights [C] of classes, C in all, from their rows and how often each was said."""
    b = (counts - 1) / counts
    w = 1 / ((1 - b**said) / (1 - b) + NEAR_ZERO)
    return w / w.sum() * len(w)


def apart(features, labels, counts):
    """The term of the tail, of features [N, D]; 0 where no row of the batch is of the tail."""
    first = 2 * (len(counts) // 3) + 1
    tail = counts.argsort(descending=True, stable=True)[first:]
    log_p, anchors = features.log_softmax(dim=1), torch.isin(labels, tail)
    if not anchors.any():
        return features.new_zeros(())
    own = log_p[anchors].detach()
    divergence = (own.exp() * (own - log_p.mean(dim=0))).mean(dim=1)
    rarity = (counts.sum() / counts).sqrt().to(log_p)[labels]
    sign = torch.where(labels[anchors, None] == labels, -1.0, 1.0).to(log_p)
    factor = (sign * (rarity[anchors, None] + rarity)).mean(dim=1)
    return (factor * divergence).mean()


@hookimpl
def register_methods(register):
    register(REAT)
