"""Distribution-balanced loss: for rows drawn by class (Wu et al., ECCV 2020)."""

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from ltbench import NonNegative, Positive, hookimpl
from ltbench.tracks.multilabel.contract import LabelMethod
from ltbench_plugins.multilabel.positive_weights import odds


class DistributionBalanced(LabelMethod):
    """Three parts, as in the authors' code; its defaults are those of VOC-LT.

    *Rebalanced weights*: r is how often a label would be drawn by its own count, over how often the
    row is drawn for all its labels; the weight is alpha + sigmoid(beta (r - mu)), of present and
    absent labels. *Negative-tolerant*: scores are shifted by kappa / lambda times the log odds
    of the label's prior, those of absent labels are then multiplied by lambda, and their weight is
    divided by it. *Focal*: 2 (1 - p)^gamma, of the scaled scores; 0 leaves that and the 2 out.

    With COCO-LT lambda is 2 and mu .2. It is made for rows of `class-aware-sampling` and a network
    that is pre-trained. The code adds the shift to the caller's tensor, here the scores stay as
    they are. Where all rows have a label, one is counted as without it.
    """

    name = "distribution-balanced"
    reference = "arXiv:2007.09654"
    corrects = "prior"

    def __init__(
        self,
        alpha: NonNegative = 0.1,
        beta: NonNegative = 10.0,
        mu: NonNegative = 0.3,
        negative_scale: Positive = 5.0,
        kappa: NonNegative = 0.05,
        gamma: NonNegative = 2.0,
    ):
        self.alpha, self.beta, self.mu = alpha, beta, mu
        self.negative_scale, self.kappa, self.gamma = negative_scale, kappa, gamma

    def label_losses(self, scores, labels, run):
        scale = labels + (1 - labels) * self.negative_scale
        shifted = scale * (scores + self.kappa * odds(run).log() / self.negative_scale)
        losses = binary_cross_entropy_with_logits(shifted, labels, reduction="none")
        if self.gamma:
            tiny = torch.finfo(losses.dtype).tiny  # below 1 the slope at 0 is infinite
            losses = 2 * (-torch.expm1(-losses)).clamp(min=tiny) ** self.gamma * losses
        return self.rebalanced(labels, run.counts) / scale * losses

    def rebalanced(self, labels, counts):
        """The weight [N, C] of each label; of a row without labels alpha + 1."""
        together = (labels / counts).sum(dim=1, keepdim=True).clamp(min=1e-12)
        return self.alpha + (self.beta * (1 / counts / together - self.mu)).sigmoid()


@hookimpl
def register_methods(register):
    register(DistributionBalanced)
