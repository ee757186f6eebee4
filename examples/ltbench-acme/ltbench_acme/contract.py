"""What this track asks of methods beyond the contract of all, and what it grants them."""

from dataclasses import dataclass
from functools import reduce
from operator import mul

from torch.nn.functional import binary_cross_entropy_with_logits

from ltbench import Grants, Method, Recipe, Rule, hook, one

SEVERAL = "several_labels"
"""What a method needs that takes labels [N, C] of 0 and 1 in the place of one a row."""


def product(factors):
    """The product of the factors that are there."""
    there = [factor for factor in factors if factor is not None]
    return reduce(mul, there) if there else None


class LabelMethod(Method):
    """A method with the hooks that this track adds; any other method joins it in a recipe."""

    needs = frozenset({SEVERAL})

    @hook(one("decide the loss of a label", training=True))
    def label_losses(self, scores, labels, run):
        """The loss [N, C] of each label."""
        return binary_cross_entropy_with_logits(scores, labels, reduction="none")

    @hook(Rule(many=True, training=True, join=product))
    def label_weight(self, labels, run):
        """A factor [N, C] on the loss of each label; None is one for all."""
        return None


class LabelRecipe(Recipe):
    """A recipe where a row has several labels: its criterion is the mean over them."""

    def __init__(self, *methods):
        super().__init__(*methods, contract=LabelMethod)

    def criterion(self, scores, labels, run):
        losses, weight = self.label_losses(scores, labels, run), self.label_weight(labels, run)
        return (losses if weight is None else weight * losses).mean(dim=1)

    def decide(self, scores, run):
        return (scores > 0).long()


@dataclass(frozen=True, kw_only=True)
class LabelGrants(Grants):
    """What this track grants: how many training rows there are, as counts add up to more."""

    rows: int
