"""Focal loss, in its softmax and its sigmoid form (Lin et al., ICCV 2017)."""

from typing import Literal

import torch
import torch.nn.functional as F

from ltbench import Choice, Method, NonNegative, hookimpl


class Focal(Method):
    """Scales the cross-entropy of a row by (1 - p_y)^gamma, so that easy rows count less.

    The softmax form is the same on the softmax; its gradient goes through the scale too, which some
    code detaches. The sigmoid form is the paper's: each class is a
    question of its own, and the loss of a row is the sum of its C scaled binary cross-entropies;
    the head's bias starts as usual, where the paper's starts low. With the weights of
    `class-balanced` outside the scale it is CB-focal; the divisor is then the sum of the weights
    in the batch, in CB-focal's code the rows.
    """

    name = "focal"
    reference = "arXiv:1708.02002"
    neutral = {"gamma": 0.0}
    space = {"gamma": Choice(0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)}  # those of its Table 1

    def __init__(self, gamma: NonNegative = 2.0, form: Literal["softmax", "sigmoid"] = "softmax"):
        self.gamma = gamma
        self.form = form

    def criterion(self, scores, labels, run):
        if self.form == "softmax":
            return focal(F.cross_entropy(scores, labels, reduction="none"), self.gamma)
        answer = 2 * F.one_hot(labels, run.num_classes) - 1  # 1 for the row's class, else -1
        return focal(-F.logsigmoid(answer * scores), self.gamma).sum(dim=1)


def focal(losses, gamma):
    """Losses -log p, scaled by (1 - p)^gamma."""
    miss = -torch.expm1(-losses)  # 1 - p without cancelling
    tiny = torch.finfo(losses.dtype).tiny  # below gamma 1 the slope at 0 is infinite
    return miss.clamp(min=tiny) ** gamma * losses


@hookimpl
def register_methods(register):
    register(Focal)
