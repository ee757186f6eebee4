"""Positive weights: a label's few positive rows count as much as its many negative ones."""

from ltbench import LogUniform, Positive, Share, hookimpl
from ltbench.tracks.multilabel.contract import LabelMethod


class PositiveWeight(LabelMethod):
    """Multiplies the loss of a present label by ((N - n_c) / n_c)^power, `cap` at most.

    It is the `pos_weight` of torch's binary cross-entropy, after King and Zeng (2001). The cap is
    our choice: a label of one row in a thousand would else have steps of its own.
    """

    name = "pos-weight"
    reference = "doi:10.1093/oxfordjournals.pan.a004868"
    corrects = "prior"
    neutral = {"power": 0.0}
    space = {"cap": LogUniform(2.0, 200.0)}

    def __init__(self, power: Share = 1.0, cap: Positive = 20.0):
        self.power, self.cap = power, cap

    def label_weight(self, labels, run):
        ratio = (odds(run) ** -self.power).clamp(max=self.cap)
        return labels * ratio + (1 - labels)


def odds(run):
    """The odds [C] of each label: rows that have it for each that has not, of which one is there
    at least."""
    absent = (run.granted.rows - run.exact_counts).clamp(min=1)
    return run.counts / absent


@hookimpl
def register_methods(register):
    register(PositiveWeight)
