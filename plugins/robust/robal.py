"""RoBal: margins on a cosine classifier under attack (Wu et al., CVPR 2021)."""

from dataclasses import replace

import torch
from torch import nn
from torch.nn.functional import linear, normalize

from ltbench import Method, NonNegative, hookimpl
from ltbench.tracks.robust.contract import ATTACK, attacks
from ltbench_plugins.robust.pgd_at import attacked
from ltbench_plugins.robust.trades import divergence

SCALE = 10.0


class RoBal(Method):
    """Adversarial training of a cosine classifier with margins, and answers alike around rows.

    The loss is the cross-entropy at x' of 10 (cos - [y] (margin + tau_m log(n_y / n_min) / 10))
    + tau_b log prior, plus `beta` KL(p(x) || p(x')) of the cosines without the scale. The attack
    maximises cross-entropy of the unscaled cosines too, as the code does; evaluation attacks the
    scores themselves. Answers are scores less tau_p log prior. Defaults are RoBal-N's; RoBal-R has
    tau_b 1.5 and tau_m 0.3. Departures: attacks begin on both sides of the inputs, where the code
    begins on one, and the KL is of log-probabilities without its 1e-12.
    """

    name = "robal"
    reference = "arXiv:2104.02703"
    needs = frozenset({ATTACK})
    corrects = "prior"

    def __init__(
        self,
        margin: NonNegative = 0.1,
        tau_b: NonNegative = 1.2,
        tau_m: NonNegative = 0.0,
        tau_p: NonNegative = 0.1,
        beta: NonNegative = 6.0,
    ):
        self.margin, self.tau_b, self.tau_m = margin, tau_b, tau_m
        self.tau_p, self.beta = tau_p, beta

    def build(self, model, run):
        model.head = Head(model.head.in_features, run.num_classes)
        return model

    def batch(self, batch, run):
        if not attacks(run):
            return batch
        moved = attacked(batch, run, 1 / SCALE)
        beside = batch.inputs if self.beta else batch.inputs[len(batch.rows) :]
        return replace(batch, inputs=torch.cat([moved, beside]))

    def adjust(self, scores, labels, run):
        return adjusted(scores, labels, run.counts, self.margin, self.tau_b, self.tau_m)

    def extra(self, output, batch, run):
        n, cosines = len(batch.rows), output.heads[0] / SCALE
        if self.beta == 0 or len(cosines) < 2 * n:
            return None
        return self.beta * divergence(cosines[n : 2 * n], cosines[:n]).mean()

    def scores(self, scores, run):
        return scores - self.tau_p * (run.counts / run.counts.sum()).log()


def adjusted(scores, labels, counts, margin, tau_b, tau_m):
    """Scores [N, C] less the margins of their labels, plus the prior."""
    margins = SCALE * margin + tau_m * (counts / counts.min()).log()
    own = nn.functional.one_hot(labels, len(counts)).to(scores)
    return scores - own * margins + tau_b * (counts / counts.sum()).log()


class Head(nn.Module):
    """10 times the product of f / |f| [N, D] and w / (|w| + 1/32) [C, D]."""

    def __init__(self, in_features, num_classes):
        super().__init__()
        self.in_features, self.out_features, self.bias = in_features, num_classes, None
        self.weight = nn.Parameter(torch.empty(num_classes, in_features))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.uniform_(self.weight, -(self.in_features**-0.5), self.in_features**-0.5)

    def forward(self, features):
        length = self.weight.norm(dim=1, keepdim=True)
        return SCALE * linear(normalize(features), self.weight / (length + 1 / 32))


@hookimpl
def register_methods(register):
    register(RoBal)
