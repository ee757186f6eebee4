"""Positive weights: a label's few positive rows count as much as its many negative ones."""

from ltbench import Share, hookimpl
from ltbench_acme.contract import LabelMethod


class PositiveWeights(LabelMethod):
    """Weigh each label's positive rows by how many negative ones it has for each of them."""

    name = "positive-weights"
    reference = "doi:10.1093/oxfordjournals.pan.a004868"
    corrects = "prior"
    neutral = {"power": 0.0}

    def __init__(self, power: Share = 1.0):
        self.power = power

    def label_weight(self, labels, run):
        negatives = run.granted.rows - run.exact_counts
        ratio = (negatives.clamp(min=1) / run.counts) ** self.power
        return labels * ratio + (1 - labels)


@hookimpl
def register_methods(register):
    register(PositiveWeights)
