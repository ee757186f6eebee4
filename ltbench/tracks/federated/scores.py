"""Measures of the networks of clients; pure functions, in float64."""

import numpy as np

from ltbench.scoring.metrics import Floats, Integers


def expected_accuracy(recall: Floats, rows: Integers) -> Floats:
    """The accuracy [K] that each client can expect on rows that are divided as its own.

    It is the mean of the recalls [K, C] of its network by its `rows` [K, C]. A class without test
    rows, whose recall is NaN, is in no mean; a client with no other has NaN.
    """
    weights = np.where(np.isnan(recall), 0, rows).astype(np.float64)
    total = weights.sum(axis=1)
    right = (np.nan_to_num(recall) * weights).sum(axis=1)
    nothing = np.full(len(total), np.nan)
    found: Floats = np.divide(right, total, out=nothing, where=total > 0)
    return found


def over_own(recall: Floats, rows: Integers) -> Floats:
    """The mean recall [K] of each client over the classes that it has rows of."""
    return expected_accuracy(recall, (rows > 0).astype(np.int64))


def scored_clients(recall: Floats, rows: Integers) -> dict[str, float | None]:
    """Every measure over clients by name, of the recalls [K, C] and the rows [K, C] of each."""
    personal, own = expected_accuracy(recall, rows), over_own(recall, rows)
    there = personal[~np.isnan(personal)]
    if not len(there):
        return dict.fromkeys(("personal", "worst_client", "client_spread", "own_classes"))
    return {
        "personal": float(there.mean()),
        "worst_client": float(there.min()),
        "client_spread": float(there.std()),
        "own_classes": float(np.nanmean(own)),
    }
