"""FRACAL: scores calibrated by how often classes come, and how evenly they lie (CVPR 2025).

Alexandridis et al.; formulas after their released code.
"""

from typing import Literal

import torch
from torch.nn.functional import logsigmoid

from ltbench import LogUniform, Method, NonNegative, hookimpl
from ltbench.tracks.detection.contract import LOCATIONS

GRIDS = 64  # the finest has so many cells along each side
LEAST = 4  # boxes, below which a class has the dimension of a point

LINKS = {
    "base10": lambda p: -p.log10(),
    "natural": lambda p: -p.log(),
    "base2": lambda p: -p.log2(),
    "logit": lambda p: -p.logit(),
    "normit": lambda p: -torch.special.ndtri(p),
    "gombit": lambda p: -(-(-p).log1p()).log(),
}


class FRACAL(Method):
    """Raises what is rare and lowers what lies evenly, after a detector was trained.

    Of a class c that is in a share p of the pictures to train on, a `link` of p, less that of 1/C,
    is added to the score, and nothing to that of the background. `of` takes the share of "boxes" in
    place of "images". D is the fractal dimension of its boxes' centres, 1 for the background: a
    softmax is divided by D to the power `lam` and normalised again; a sigmoid is multiplied by
    another, of the score with the link and log10(mean of D**lam / D**lam) added. Without a `link`,
    None, the dimension acts alone, and at `lam` 0 the frequency; a sigmoid head is squared then.

    A class in no picture counts as if it were in one, and one in all as if in half a picture less
    (our choice: the code has infinite numbers). The code's smoothed logarithm, whose target depends
    on 300 invented pictures a class, is left out. Scores stay logits: those of a softmax lose lam *
    log D, and a product of sigmoids has one of its own.
    """

    name = "fracal"
    reference = "arXiv:2410.11774"
    needs = frozenset({LOCATIONS})
    corrects = "prior"
    space = {"lam": LogUniform(0.3, 3.0)}

    def __init__(
        self,
        lam: NonNegative = 2.0,
        link: Literal["base10", "natural", "base2", "logit", "normit", "gombit"] | None = "base10",
        of: Literal["images", "boxes"] = "images",
    ):
        self.lam, self.link, self.of = lam, link, of

    def scores(self, scores, run):
        told, classes = run.granted, len(run.granted.images)
        dimension = fractal_dimensions(told.locations, told.labels, classes).to(scores)
        frequent = scores.new_zeros(classes)
        if self.link is not None:
            frequent = frequency_weights(told, self.link, self.of).to(scores)
        if told.head == "softmax":
            shift = frequent - self.lam * dimension.log()
            return scores + torch.nn.functional.pad(shift, (0, 1))
        power = dimension**self.lam
        return both(scores, scores + frequent + (power.mean() / power).log10())


def frequency_weights(told, link, of):
    """What is added to the score of each class [C], in float64: its link less that of 1/C."""
    boxes = told.labels.bincount(minlength=len(told.images))
    counts, whole = (told.images, told.pictures) if of == "images" else (boxes, len(told.labels))
    share = counts.double().clamp(1, max(whole - 0.5, 1)) / whole
    even = torch.full_like(share, 1 / len(share))
    return LINKS[link](share) - LINKS[link](even)


def fractal_dimensions(locations, labels, classes):
    """The dimension [C] by box counting of the places [M, 2] of each class, in float64.

    It is the slope of log N on log g by least squares, where N of g x g cells hold a place of the
    class, for g from 1 to 64 as long as the class has g x g boxes. With fewer than 4 boxes, or a
    slope below 1, it is 1. A place at exactly 1 is in no cell, as in the code.
    """
    grids = torch.arange(1, GRIDS + 1, device=locations.device)
    held = torch.stack([occupied(locations, labels, classes, int(g)) for g in grids])  # [G, C]
    used = (grids[:, None] ** 2 <= labels.bincount(minlength=classes)).double()
    x, y = grids.double().log()[:, None], held.clamp(min=1).double().log()
    number = used.sum(dim=0).clamp(min=1)
    x = x - (used * x).sum(dim=0) / number
    slope = (used * x * y).sum(dim=0) / (used * x * x).sum(dim=0)
    enough = labels.bincount(minlength=classes) >= LEAST
    return torch.where(enough, slope, 1.0).clamp(min=1.0)


def occupied(locations, labels, classes, grid):
    """How many of grid x grid cells hold a place of each class [C]."""
    inside = (locations < 1).all(dim=1)
    cells = (locations[inside].double() * grid).floor().long().clamp(0, grid - 1)
    keys = (labels[inside] * grid + cells[:, 1]) * grid + cells[:, 0]
    return (keys.unique() // grid**2).bincount(minlength=classes)


def both(first, second):
    """The logit of the product of the sigmoids of two logits."""
    together = logsigmoid(first) + logsigmoid(second)
    return together - torch.logaddexp(logsigmoid(-first), logsigmoid(first) + logsigmoid(-second))


@hookimpl
def register_methods(register):
    register(FRACAL)
