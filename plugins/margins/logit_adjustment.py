"""The log prior, added to the scores while training or taken off them afterwards.

Logit adjustment in both forms: Menon et al., ICLR 2021. Balanced softmax, which is the loss form
at tau 1: Ren et al., NeurIPS 2020.
"""

from ltbench import LogUniform, Method, hookimpl


class LogitAdjustment(Method):
    """Adds tau * log(prior) to the scores while training."""

    name = "logit-adjustment"
    reference = "arXiv:2007.07314"
    corrects = "prior"
    neutral = {"tau": 0.0}
    space = {"tau": LogUniform(0.3, 3.0)}

    def __init__(self, tau: float = 1.0):
        self.tau = tau

    def adjust(self, scores, labels, run):
        return scores + self.tau * run.seen.log()


class BalancedSoftmax(Method):
    """Weighs each class in the softmax by its share of the rows: the prior in full, tau 1."""

    name = "balanced-softmax"
    reference = "arXiv:2007.10740"
    corrects = "prior"

    def adjust(self, scores, labels, run):
        return scores + run.seen.log()


class PosthocLogitAdjustment(Method):
    """Trains plainly and subtracts tau * log(prior) from the scores afterwards."""

    name = "posthoc-logit-adjustment"
    reference = "arXiv:2007.07314"
    corrects = "prior"
    neutral = {"tau": 0.0}
    space = {"tau": LogUniform(0.3, 3.0)}

    def __init__(self, tau: float = 1.0):
        self.tau = tau

    def scores(self, scores, run):
        return scores - self.tau * run.seen.log()


@hookimpl
def register_methods(register):
    register(LogitAdjustment)
    register(BalancedSoftmax)
    register(PosthocLogitAdjustment)
