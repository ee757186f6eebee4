"""Label-aware smoothing (Zhong et al., CVPR 2021), as in the code of LT-CIL."""

import math
from typing import Literal

from ltbench import Method, Share, hookimpl


class LabelAwareSmoothing(Method):
    """Smooths labels by the size of their class, from `head` of the largest to `tail`.

    A row of class y has the loss (1 - s_y)(-log p_y) + s_y mean_c(-log p_c). With r in [0, 1] for
    where the rows of a class lie between the smallest and the largest, s is tail + (head - tail)
    times sin(r pi / 2), r, 1 + sin(3 pi / 2 + r pi / 2) or r^`power`, for the shapes concave,
    linear, convex and exp. MiSLAS has it in a second stage, with `lws`, where it acts as well as in
    the first. LT-CIL's code brings it and does not use it.
    """

    name = "label-aware-smoothing"
    reference = "arXiv:2104.00466"
    roles = ("main", "head")
    neutral = {"head": 0.0, "tail": 0.0}

    def __init__(
        self,
        head: Share = 0.4,
        tail: Share = 0.1,
        shape: Literal["concave", "linear", "convex", "exp"] = "concave",
        power: float = 2.0,
    ):
        self.head = head
        self.tail = tail
        self.shape = shape
        self.power = power

    def criterion(self, scores, labels, run):
        smoothing = smoothed(run.counts, self.head, self.tail, self.shape, self.power)
        share = smoothing.to(scores)[labels]
        logs = scores.log_softmax(dim=1)
        own = -logs.gather(1, labels[:, None])[:, 0]
        return (1 - share) * own - share * logs.mean(dim=1)


def smoothed(counts, head, tail, shape, power=2.0):
    """The smoothing [C] of classes with so many rows [C]; of equal ones all have `tail`."""
    rank = (counts - counts.min()) / (counts.max() - counts.min()).clamp(min=1)
    quarter = rank * math.pi / 2
    steep = {
        "concave": quarter.sin(),
        "linear": rank,
        "convex": 1 + (1.5 * math.pi + quarter).sin(),
        "exp": rank**power,
    }
    return tail + (head - tail) * steep[shape]


@hookimpl
def register_methods(register):
    register(LabelAwareSmoothing)
