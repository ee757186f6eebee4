"""Random undersampling: rows of common classes are dropped (Buda et al., Neural Networks 2018)."""

import torch

from ltbench import LTBenchError, Method, hookimpl


class Undersampling(Method):
    """Keeps as many rows of each class as the smallest has, drawn once.

    Training takes as many steps as plain training does, so the rows kept come more often.

    With `shot_splits`, such as (20, 100), less is dropped. Classes of many rows, more than the
    second number, are cut to the size of the largest class that has no more; medium ones to that
    of the largest with few rows, fewer than the first; those keep all. This form is our choice.
    By default this is SUBY of Idrissi et al. (CLeaR 2022); `subg` cuts groups in that way.
    """

    name = "undersampling"
    reference = "arXiv:1710.05381"
    corrects = "prior"

    def __init__(self, shot_splits: tuple[int, int] | None = None):
        self.shot_splits = shot_splits

    def resample(self, train, run):
        shuffled = torch.randperm(len(train), generator=run.rng, device=run.device)
        labels = train.labels[shuffled]
        classes = [shuffled[labels == c] for c in range(run.num_classes)]
        sizes = kept([len(rows) for rows in classes], self.shot_splits)
        return train[torch.cat([rows[:n] for rows, n in zip(classes, sizes, strict=True)])]


def kept(sizes, shot_splits):
    """How many rows to keep of classes of these sizes."""
    if shot_splits is None:
        return [min(sizes)] * len(sizes)
    first, second = shot_splits
    if first > second:
        raise LTBenchError(f"undersampling: shot_splits {shot_splits} must not fall")
    few = max((n for n in sizes if n < first), default=max(sizes))
    medium = max((n for n in sizes if n <= second), default=max(sizes))
    return [min(n, medium if n > second else few) for n in sizes]


@hookimpl
def register_methods(register):
    register(Undersampling)
