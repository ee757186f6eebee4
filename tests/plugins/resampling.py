"""What the tests of resamplers share: rows to work on, and a call of a method on them."""

from dataclasses import replace

import torch

from ltbench import Rows
from ltbench.testing.probes import probe_run


def resampled(method, train, seed=0, categorical=()):
    """The rows that a method makes of `train`, and the run it was given."""
    run = probe_run(method, train.labels.bincount(), torch.float32)
    run.rng.manual_seed(seed)
    run.seed = seed
    run.train = replace(train, categorical=categorical)
    return method.resample(run.train, run), run


def clouds(counts, distance=1.0):
    """Gaussian clouds along a diagonal, one for each class."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    chance = torch.Generator().manual_seed(0)
    noise = torch.randn(len(labels), 3, generator=chance)
    return Rows(distance * labels[:, None] + noise, labels)


def rows_at(*classes):
    """Rows on a line, a list of places for each class."""
    labels = torch.arange(len(classes)).repeat_interleave(torch.tensor(list(map(len, classes))))
    return Rows(torch.tensor([place for c in classes for place in c])[:, None], labels)


def shuffled(train, seed=0):
    return train[torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))]
