"""Class-balanced weights (Cui et al., CVPR 2019) of several labels a row, in four modes."""

from typing import Literal

import torch

from ltbench import Share, hookimpl
from ltbench.tracks.multilabel.contract import LabelMethod


class LabelClassBalanced(LabelMethod):
    """Weighs by 1 / (1 - beta^n): n is a label's positives, or a number for a row of its labels.

    That are the modes of the code of distribution-balanced loss: by `class`, or for a whole row by
    the mean count of its labels (`mean-count`, there average_n), their mean weight
    (`mean-weight`, average_w), or the smallest count (`least-count`, min_n). Departures: weights
    there are multiplied by 1 - beta besides, so that a frequent label weighs .1 with the default;
    here it weighs 1, as if by the factor 10 of LMPT's code. A row without labels is NaN in the
    modes of means there; here its count is that of all rows.
    """

    name = "label-class-balanced"
    reference = "arXiv:1901.05555"
    corrects = "prior"

    def __init__(
        self,
        beta: Share = 0.9,
        mode: Literal["class", "mean-count", "mean-weight", "least-count"] = "class",
    ):
        self.beta, self.mode = beta, mode

    def label_weight(self, labels, run):
        if self.mode == "class":
            return self.weight_of(run.counts)
        number = labels.sum(dim=1, keepdim=True).clamp(min=1)
        bare = labels.sum(dim=1, keepdim=True) == 0
        if self.mode == "mean-weight":
            found = (labels * self.weight_of(run.counts)).sum(dim=1, keepdim=True) / number
            every = self.weight_of(run.counts.new_tensor(float(run.granted.rows)))
            return torch.where(bare, every, found)
        if self.mode == "mean-count":
            counts = (labels * run.counts).sum(dim=1, keepdim=True) / number
        else:
            counts = run.counts.masked_fill(labels == 0, torch.inf).amin(dim=1, keepdim=True)
        return self.weight_of(counts.masked_fill(bare, float(run.granted.rows)))

    def weight_of(self, counts):
        """The weight of a number of rows, at least 1."""
        return 1 / (1 - self.beta**counts)


@hookimpl
def register_methods(register):
    register(LabelClassBalanced)
