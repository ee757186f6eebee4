"""Draws between those by row and by class: by a power of the class's rows, or progressively.

Square-root sampling: Mahajan et al., ECCV 2018. Progressively balanced sampling, and the formula
of both: Kang et al., ICLR 2020.
"""

from typing import Literal

from ltbench import Method, Share, Uniform, hookimpl


class SqrtSampling(Method):
    """Draws class c with a probability that goes with n_c^power, its rows alike, with replacement.

    Power 1/2 is square-root sampling; 0 draws all classes equally often, and 1 is plain training,
    where each row comes once an epoch.
    """

    name = "sqrt-sampling"
    reference = "arXiv:1910.09217"
    corrects = "prior"
    neutral = {"power": 1.0}
    space = {"power": Uniform(0.0, 1.0)}  # from balanced to the rows as they are

    def __init__(self, power: Share = 0.5):
        self.power = power

    def sampling_weights(self, labels, run):
        if self.power == 1:
            return None
        return (labels.bincount() ** (self.power - 1.0))[labels]


class ProgressiveSampling(Method):
    """Draws by row at first and shifts epoch by epoch to drawing all classes equally often.

    Epoch t of T, from 0, mixes both draws with share t / (T - 1), as in the paper's code, so that
    the last epoch is balanced. With `form="paper"` the share is the t / T of the paper, which ends
    an epoch short of that. A single epoch is drawn by row, which is our choice. Rows are drawn
    with replacement throughout.

    BatchNorm's statistics follow the draw, to the end: where the learning rate has faded by then,
    the weights follow no more, and rare classes may lose by it.
    """

    name = "progressive-sampling"
    reference = "arXiv:1910.09217"
    corrects = "prior"

    def __init__(self, form: Literal["code", "paper"] = "code"):
        self.form = form

    def sampling_weights(self, labels, run):
        epochs = run.phase.epochs
        last = max(1, epochs - 1) if self.form == "code" else epochs
        share = (run.progress * epochs / last).clamp(max=1)
        by_class = 1 / (labels.bincount() * run.num_classes)
        return (1 - share) / len(labels) + share * by_class[labels]


@hookimpl
def register_methods(register):
    register(SqrtSampling)
    register(ProgressiveSampling)
