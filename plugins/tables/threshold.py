"""Decision thresholds that are set on rows held out of the training (arXiv:2409.19751)."""

from typing import Literal

import torch

from ltbench import Method, hookimpl
from ltbench.scoring.thresholds import best_offsets


class Threshold(Method):
    """Trains plainly and moves decisions to where `metric` is best on held-out rows.

    Of two classes the rarer one gets a threshold; of more, each gets an offset of its score. In a
    table each training row is scored by a model that was fitted without it, with all that the
    recipe does around it, and the model that predicts is fitted to all rows; elsewhere the
    protocol's validation rows serve, and without those the largest score decides. Scores stay
    as they are; only decisions move.
    """

    name = "threshold"
    reference = "arXiv:2409.19751"
    models = frozenset({"network", "estimator"})

    def __init__(
        self, metric: Literal["f1", "f2", "g_mean", "balanced_accuracy", "matthews"] = "f1"
    ):
        self.metric = metric

    def finish(self, model, validation, run):
        if run.granted.cross_fitted is not None:
            scores, labels = run.granted.cross_fitted()
        elif validation is not None:
            scores, labels = run.scores(validation.inputs), validation.labels
        else:
            run.note("no held-out rows, so the largest score decides")
            return model
        held_out = scores.double().cpu().numpy(), labels.cpu().numpy()
        offsets = best_offsets(*held_out, self.metric, run.positive)
        model.threshold_offsets = torch.from_numpy(offsets)
        return model

    def decide(self, scores, run):
        offsets = getattr(run.model, "threshold_offsets", None)
        return (scores if offsets is None else scores + offsets.to(scores)).argmax(dim=-1)


@hookimpl
def register_methods(register):
    register(Threshold)
