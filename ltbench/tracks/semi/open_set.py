"""Rows of unknown classes: how far a network takes them for such, and how that is scored."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ltbench.contract.context import PREDICTED_AT_ONCE, Run
from ltbench.contract.track import Arrays
from ltbench.results.records import Scores
from ltbench.scoring.metrics import macro_auc, recalls
from ltbench.tracks.semi.learning import Pooled
from ltbench.training.engine import answered, forward

REJECTED = 0.05  # of the labelled rows, where a method does not say itself what is unknown


def openness(
    recipe: Pooled, model: nn.Module, labelled: Tensor, inputs: Tensor, run: Run
) -> tuple[Tensor, Tensor]:
    """How far each row [N] is of an unknown class, in [0, 1], and its open label [N], C for such.

    A method says so itself by `opened`. Where none does, a row is as unknown as its likeliest class
    is unlikely, and labelled so beyond what a twentieth of the `labelled` rows exceeds.
    """
    opened = _opened(recipe, model, inputs, run)
    if opened is not None:
        return opened[:, -1], opened.argmax(dim=1)
    limit = _doubted(recipe, model, labelled, run)[0].quantile(1 - REJECTED)
    doubt, predicted = _doubted(recipe, model, inputs, run)
    return doubt, predicted.where(doubt <= limit, torch.full_like(predicted, run.num_classes))


def _opened(recipe: Pooled, model: nn.Module, inputs: Tensor, run: Run) -> Tensor | None:
    parts = []
    for some in inputs.split(PREDICTED_AT_ONCE):
        told = recipe.opened(forward(model, run.plain(some), run), run)
        if told is None:
            return None
        parts.append(told)
    return torch.cat(parts)


def _doubted(recipe: Pooled, model: nn.Module, inputs: Tensor, run: Run) -> tuple[Tensor, Tensor]:
    every = torch.arange(len(inputs), device=inputs.device)
    scores, predicted = answered(recipe, model, inputs, every, run)
    return 1 - scores.double().softmax(dim=1).max(dim=1).values, predicted


def scored(arrays: Arrays, classes: int) -> Scores:
    """The measures of known and unknown test rows; nothing where none are of unknown classes.

    `unknown` [T + U] is how far each row is taken to be of one, the known rows first, whose
    `labels` are [T], and `open_predicted` [T + U] is its open label.
    """
    if "unknown" not in arrays:
        return {}
    known = arrays["labels"].astype(np.int64)
    true = np.full(len(arrays["unknown"]), classes)
    true[: len(known)] = known
    likely = arrays["unknown"].astype(np.float64)
    recall = recalls(true, arrays["open_predicted"].astype(np.int64), classes + 1)
    return {
        "unknown_auroc": auroc(true == classes, likely),
        "open_balanced_accuracy": float(np.nanmean(recall)),
    }


def auroc(unknown: NDArray[np.bool_], likely: NDArray[np.float64]) -> float | None:
    """The share of pairs of an unknown row and a known one, of which the first is the likelier to
    be unknown; ties count half. None without such pairs."""
    return macro_auc(unknown.astype(np.int64), np.stack([-likely, likely], axis=1))
