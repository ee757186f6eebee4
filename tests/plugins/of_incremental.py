"""What tests of methods of incremental learning share: a run in a later task, with its past."""

import torch
from torch import nn

from ltbench import Batch, Output, recipe
from ltbench.testing.probes import probe_run
from ltbench.tracks.incremental.contract import IncrementalGrants, Past
from ltbench.training.engine import objective


class Told(nn.Module):
    """A network whose features are its inputs, and whose head gives what it was told."""

    def __init__(self, scores=None, width=3):
        super().__init__()
        self.given = scores
        self.head = nn.Linear(width, 4).double() if scores is None else self
        self.in_features = width

    def features(self, x):
        return x

    def forward(self, x):
        return self.given


def run_of(text, classes=4, old=2, taught=None, known=None, counts=None):
    """A recipe and its run in a task with `old` known classes, whose network gave `taught`."""
    method = recipe(text)
    counts = counts or [10] * classes
    run = probe_run(method, counts, torch.float64)
    before = probe_run(method, counts[:old], torch.float64)
    before.model = Told(taught)
    past = Past(
        known=known or (old,),
        arrived=torch.tensor(counts),
        room=4,
        method=recipe("erm"),
        run=before,
    )
    run.granted = IncrementalGrants(past=past)
    return method, run


def loss_of(method, run, scores, labels):
    """The scalar that a method would minimise for rows with scores [N, C]."""
    inputs = scores.new_zeros(len(scores), 3)
    batch = Batch(inputs, [(labels, 1.0)], torch.arange(len(labels)))
    return objective(method, Output((scores,), inputs), batch, run)


def float64(values):
    return torch.tensor(values, dtype=torch.float64)
