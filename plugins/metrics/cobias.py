"""COBias: how unevenly a model gets its classes right (Lin and You, arXiv:2405.07623)."""

from ltbench import Measure, hookimpl

TRACKS = ("recognition", "domains", "incremental", "robust", "federated", "semi")
COBIAS = Measure(
    "cobias",
    "COBias",
    "*COBias*: mean gap of the recalls of two classes, over all pairs",
    better="lower",
    chosen=True,
    limits=(0.0, 1.0),
)


def cobias(labels, predicted, num_classes):
    """The mean of |r_i - r_j| over pairs of classes, of the recalls r of those with test rows.

    The paper says accuracy of a class where this says recall. None with fewer than two classes.
    """
    import numpy as np

    rows = np.bincount(labels, minlength=num_classes)
    right = np.bincount(labels[labels == predicted], minlength=num_classes)
    recall = np.sort(right[rows > 0] / rows[rows > 0])
    n = len(recall)
    if n < 2:
        return None
    above = 2 * np.arange(n) - (n - 1)  # how often a recall is the larger one, less the smaller
    return float(above @ recall / (n * (n - 1) / 2))


@hookimpl
def register_metrics(register):
    for track in TRACKS:
        register(track, COBIAS, cobias)
