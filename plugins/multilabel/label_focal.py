"""Focal loss of each label (Lin et al., ICCV 2017), where a row has several."""

from ltbench import Choice, NonNegative, hookimpl
from ltbench.tracks.multilabel.contract import LabelMethod
from ltbench_plugins.losses.focal import focal


class LabelFocal(LabelMethod):
    """Scales the binary cross-entropy of a label by (1 - p_t)^gamma, p_t being what it is given.

    The code of distribution-balanced loss multiplies by 2 besides.
    """

    name = "label-focal"
    reference = "arXiv:1708.02002"
    neutral = {"gamma": 0.0}
    space = {"gamma": Choice(0.0, 0.5, 1.0, 2.0, 5.0)}

    def __init__(self, gamma: NonNegative = 2.0):
        self.gamma = gamma

    def label_losses(self, scores, labels, run):
        return focal(super().label_losses(scores, labels, run), self.gamma)


@hookimpl
def register_methods(register):
    register(LabelFocal)
