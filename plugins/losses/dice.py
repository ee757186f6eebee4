"""Self-adjusting Dice loss (Li et al., ACL 2020)."""

import torch
import torch.nn.functional as F

from ltbench import LogUniform, Method, NonNegative, Positive, hookimpl


class Dice(Method):
    """One minus the overlap of probabilities and label, of each row, added up over the classes.

    The overlap of class c is (2 q y + smooth) / (q^2 + y^2 + smooth), where q = (1 - p)^alpha p
    takes rows back that are sure beyond 1 / (1 + alpha). This is the multi-class form of the
    paper's code with its squared denominator, the one that keeps rows apart, and the defaults are
    those of its paraphrase script; without `squared` the denominator is q + y + smooth, as in the
    paper. The hard-negative part is left out. A row that is quite wrong has next to no gradient, so
    from scratch rare classes can starve: combine it with weights, as in `class-balanced+dice`.
    """

    name = "dice"
    reference = "arXiv:1911.02855"
    space = {"alpha": LogUniform(0.001, 1.0)}

    def __init__(self, alpha: NonNegative = 0.01, smooth: Positive = 1.0, squared: bool = True):
        self.alpha = alpha
        self.smooth = smooth
        self.squared = squared

    def criterion(self, scores, labels, run):
        y = F.one_hot(labels, run.num_classes)
        p_log = F.log_softmax(scores, dim=1)
        miss = -torch.expm1(p_log)
        # below rounding 1 - p is unknown, and the slope of its power has no bound
        q = miss.clamp(min=torch.finfo(scores.dtype).eps) ** self.alpha * p_log.exp()
        size = q**2 if self.squared else q
        return (1 - (2 * q * y + self.smooth) / (size + y + self.smooth)).sum(dim=1)


@hookimpl
def register_methods(register):
    register(Dice)
