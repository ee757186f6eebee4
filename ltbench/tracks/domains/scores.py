"""Metrics over cells of a domain and a class; pure functions, in float64."""

import numpy as np

from ltbench.scoring.metrics import Floats, Integers, recalls


def cell_recalls(
    labels: Integers, predicted: Integers, groups: Integers, shape: tuple[int, int]
) -> Floats:
    """The recall [G, C] in each cell; NaN for one without test rows."""
    number, num_classes = shape
    truth = groups.astype(np.int64) * num_classes + labels
    told = groups.astype(np.int64) * num_classes + predicted
    return recalls(truth, told, number * num_classes).reshape(shape)


def scored_cells(
    recall: Floats, cells: Integers, shot_splits: tuple[int, int]
) -> dict[str, float | None]:
    """Every measure over cells [G, C] by name, of their recalls and their training rows.

    A cell without test rows is in no mean, a domain without any in no minimum. Few cells have
    fewer training rows than the first border, but some, many have more than the second.
    """
    there, (low, high) = ~np.isnan(recall), shot_splits
    few, many, zero = (cells < low) & (cells > 0), cells > high, cells == 0
    kinds = {"many": many, "medium": ~(few | many | zero), "few": few, "zero": zero}
    domains = [float(np.nanmean(rows)) for rows in recall if not np.isnan(rows).all()]
    weights = np.where(there, cells, 0)
    weighted = float((np.where(there, recall, 0) * weights).sum() / weights.sum())
    worst = float(np.nanmin(recall))
    return {
        "mean_of_cells": float(np.nanmean(recall)),
        "worst_domain": min(domains),
        "worst_cell": worst,
        "worst_group": worst,
        "weighted_accuracy": weighted,
        **{name: _mean(recall[kind & there]) for name, kind in kinds.items()},
    }


def flips(predicted: Integers, groups: Integers) -> float | None:
    """The share of test images, shown in two domains, that are decided differently; the mean over
    pairs of domains. None where domains do not show the same images, in one order."""
    shown = [predicted[groups == g] for g in np.unique(groups)]
    if len(shown) < 2 or len({len(one) for one in shown}) > 1:
        return None
    every = np.stack(shown)
    apart = (every[:, None] != every[None]).mean(axis=2)
    return float(apart.sum() / (len(shown) * (len(shown) - 1)))


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if values.size else None


def listed(values: Floats) -> list[list[float | None]]:
    """Numbers [G, C] as lists, None for NaN."""
    return [[None if np.isnan(value) else float(value) for value in row] for row in values]
