"""Weight aligning between frequent and rare classes (after Zhao et al., CVPR 2020)."""

from typing import Annotated

import torch
from msgspec import Meta

from ltbench import CosineHead, Method, head_weights, hookimpl
from ltbench_plugins.margins.group_thresholds import shot_groups


class WeightAligning(Method):
    """Lengthens the weights of few-shot classes by the mean length of the others over their own.

    The paper aligns new classes with old ones in class-incremental learning, where the new ones
    are too long; putting few-shot classes in their place, which are too short, is our adaptation.
    The bias stays as it is, and the paper's clipping of weights while training is left out.
    Few-shot are the classes below `border` rows; where it is not given, those in the lowest third,
    in logarithms, of the way from the smallest class to the largest.
    """

    name = "weight-aligning"
    reference = "arXiv:1911.07053"
    corrects = "prior"

    def __init__(self, border: Annotated[int, Meta(ge=1)] | None = None):
        self.border = border

    def finish(self, model, validation, run):
        few = few_shot(run.counts, self.border)
        if few.all() or not few.any():
            run.note("all classes or none are few-shot: the weights stay as they are")
            return model
        weight = head_weights(model)
        if isinstance(model.head, CosineHead):
            run.note("the lengths of weights do not count in a cosine head: nothing is aligned")
            return model
        gain = aligning(weight, few)
        weight.copy_(torch.where(few[:, None], gain, 1) * weight)
        run.note(f"weights of {int(few.sum())} few-shot classes are multiplied by {gain:.3g}")
        return model


def few_shot(counts, border=None):
    """Which classes [C] are few-shot."""
    return shot_groups(counts) == 0 if border is None else counts < border


def aligning(weight, few):
    """The mean length of the other classes' weights over that of the few-shot classes'."""
    lengths = weight.norm(dim=1)
    short = lengths[few].mean()
    return torch.where(short > 0, lengths[~few].mean() / short, 1)


@hookimpl
def register_methods(register):
    register(WeightAligning)
