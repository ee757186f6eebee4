"""Asymmetric loss: easy absent labels count less, or not at all (Ridnik et al., ICCV 2021)."""

from ltbench import LogUniform, NonNegative, Share, hookimpl
from ltbench.tracks.multilabel.contract import LabelMethod

FLOOR = 1e-8  # of a probability whose logarithm is taken


class ASL(LabelMethod):
    """Focuses present labels by `positive`, absent ones by `negative`, whose probability is lowered
    by a `margin` first: below that an absent label costs nothing.

    The defaults are those of the authors' training on MS-COCO; their class has `positive` 1. As in
    their code no gradient goes through the focusing factor, unless `detached` is False. Departure:
    the code sums over rows and labels, here it is a mean, and the learning rate the protocol's.
    """

    name = "asl"
    reference = "arXiv:2009.14119"
    space = {"negative": LogUniform(1.0, 8.0)}

    def __init__(
        self,
        negative: NonNegative = 4.0,
        positive: NonNegative = 0.0,
        margin: Share = 0.05,
        detached: bool = True,
    ):
        self.negative, self.positive = negative, positive
        self.margin, self.detached = margin, detached

    def label_losses(self, scores, labels, run):
        likely = truth(scores, labels, self.margin)
        focus = labels * self.positive + (1 - labels) * self.negative
        return focused(likely, focus, self.detached)


def truth(scores, labels, margin):
    """The probability [N, C] given to what is so; that of absent labels is raised by a margin."""
    given = scores.sigmoid()
    return labels * given + (1 - labels) * (1 - given + margin).clamp(max=1)


def focused(likely, focus, detached=False):
    """-log p, times (1 - p) to a power for each; with `detached` that factor has no slope."""
    miss = (1 - likely).detach() if detached else 1 - likely
    return -(miss**focus) * likely.clamp(min=FLOOR).log()


@hookimpl
def register_methods(register):
    register(ASL)
