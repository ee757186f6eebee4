"""Asymmetric focusing: easy negatives count less (Ridnik et al., ICCV 2021), without its margin."""

from ltbench import NonNegative, hookimpl
from ltbench_acme.contract import LabelMethod


class Asymmetric(LabelMethod):
    """Focus each label's loss, absent labels more than present ones (Ridnik et al., ICCV 2021)."""

    name = "asymmetric"
    reference = "arXiv:2009.14119"
    neutral = {"positive": 0.0, "negative": 0.0}

    def __init__(self, positive: NonNegative = 0.0, negative: NonNegative = 4.0):
        self.positive = positive
        self.negative = negative

    def label_losses(self, scores, labels, run):
        off = (labels - scores.sigmoid()).abs()
        focus = labels * off**self.positive + (1 - labels) * off**self.negative
        return focus * super().label_losses(scores, labels, run)


@hookimpl
def register_methods(register):
    register(Asymmetric)
