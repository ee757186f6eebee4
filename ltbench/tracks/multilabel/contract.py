"""What several labels a row ask of methods beyond the contract of all, and what is granted."""

import copy
from dataclasses import dataclass
from functools import reduce
from operator import mul

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import AdamW

from ltbench.contract.context import Batch, Grants, Phase, Rows, Run
from ltbench.contract.method import Method, Rule, hook, hooks, one
from ltbench.contract.recipes import Recipe

LABEL_SETS = "label_sets"
"""What a method needs that takes labels [N, C] of 0 and 1 in the place of one class a row."""

OF_ONE_CLASS = ("resample", "enter", "sampling_weights", "adjust", "weight", "extra")
"""Hooks that are given labels, and what they do with one class a row makes no sense of several."""

NEVER = ("criterion", "finish", "scores", "decide", "adapt")
"""Hooks that no method may have here: the loss is a mean over labels, scores rank rows of a class,
and a label is told where its score is above 0."""


def product(factors: list[Tensor | None]) -> Tensor | None:
    """The product of the factors that are there."""
    there = [factor for factor in factors if factor is not None]
    return reduce(mul, there) if there else None


class LabelMethod(Method):
    """A method with the hooks that this track adds. Labels are float, 0 or 1, [N, C] everywhere."""

    needs = frozenset({LABEL_SETS})

    @hook(one("decide the loss of a label", training=True))
    def label_losses(self, scores: Tensor, labels: Tensor, run: Run) -> Tensor:
        """The loss [N, C] of each label of each row; `scores` [N, C] are adjusted."""
        return binary_cross_entropy_with_logits(scores, labels, reduction="none")

    @hook(Rule(many=True, training=True, join=product))
    def label_weight(self, labels: Tensor, run: Run) -> Tensor | None:
        """A factor on the loss of each label, [N, C] or [C] or [N, 1]; None is one for all.

        Unlike those of `weight` it does not divide the loss.
        """
        return None


class LabelRecipe(Recipe):
    """A recipe of several labels a row: the loss of a row is the mean over its C labels.

    Where no method chooses an optimizer, it is AdamW if `adamw` says so.
    """

    def __init__(self, *methods: Method, adamw: bool = False) -> None:
        super().__init__(*methods, contract=LabelMethod)
        self.adamw = adamw

    def optimizer(self, model: nn.Module, run: Run) -> torch.optim.Optimizer:
        if not self.adamw or self.chain("optimizer", run):
            return super().optimizer(model, run)
        learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        betas = (run.phase.momentum, 0.999)
        return AdamW(learning, run.phase.lr, betas, weight_decay=run.phase.weight_decay)

    def criterion(self, scores: Tensor, labels: Tensor, run: Run) -> Tensor:
        losses: Tensor = self.label_losses(scores, labels, run)
        weight: Tensor | None = self.label_weight(labels, run)
        return (losses if weight is None else weight * losses).mean(dim=1)


@dataclass(frozen=True, kw_only=True)
class LabelGrants(Grants):
    """What the track grants: how many `rows` there are to train on, as counts add up to more, and
    how many of them two labels have `together` [C, C], or one of them on the diagonal."""

    rows: int
    together: Tensor


def granted(labels: Tensor) -> LabelGrants:
    """What is granted of labels [N, C] to train on."""
    return LabelGrants(rows=len(labels), together=labels.T @ labels)


def unfit(method: Method) -> str | None:
    """The hook for which a method does not serve several labels a row, or None.

    One that takes them says so by its need. Of others a hook that mixes rows is tried: what
    becomes of labels [N, C] must be labels of rows of the batch.
    """
    own = hooks(type(method))
    refused = NEVER if LABEL_SETS in method.needs else (*NEVER, *OF_ONE_CLASS)
    found = next((hook for hook in own if hook in refused), None)
    if found is None and "batch" in own and LABEL_SETS not in method.needs:
        return None if _mixes_rows(method) else "batch"
    return found


def _mixes_rows(method: Method) -> bool:
    """Whether `batch` leaves each target a matrix of labels of the rows it was given."""
    labels = torch.eye(8)[:, :4] + torch.eye(8)[:, 4:]
    rows = Rows(torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(0)), labels)
    counts = labels.sum(dim=0)
    run = Run(counts, counts / counts.sum(), torch.ones(()), Phase("main", 1, 0.1, 0.0))
    run.train = rows
    try:
        made = copy.deepcopy(method).batch(
            Batch(rows.inputs, [(labels, 1.0)], torch.arange(8)), run
        )
        told = [target for target, _ in made.targets]
    # What a method of one class a row makes of a matrix may be any error at all.
    except Exception:
        return False
    return all(
        one.shape == labels.shape and bool((one[:, None] == labels).all(-1).any(-1).all())
        for one in told
    )
