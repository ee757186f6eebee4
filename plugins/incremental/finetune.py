"""Fine-tuning on each task's rows alone: what is lost where nothing is done against it."""

from typing import Literal

import torch

from ltbench import hookimpl
from ltbench.tracks.incremental.contract import PAST, ClassIncremental, old_classes


class ExemplarFree(ClassIncremental):
    """A method that remembers no rows; memory stays empty."""

    needs = frozenset({PAST})

    def remember(self, train, room, run):
        return torch.zeros(0, dtype=torch.long)


class Finetune(ExemplarFree):
    """Trains on the rows of each task as they come, and remembers none.

    Code of the field means two things by it. With `scores` "all" the loss is over all known
    classes, as in plain training; with "new" over those of the task, as in PyCIL, so that old
    classes are not taught to be wrong.
    """

    name = "finetune"
    reference = "github.com/G-U-N/PyCIL"

    def __init__(self, scores: Literal["all", "new"] = "all"):
        self.scores = scores

    def adjust(self, scores, labels, run):
        return of_task(scores, run) if self.scores == "new" else scores


def of_task(scores, run):
    """Scores [N, C] of which those of classes that were known before are out of the question."""
    old = old_classes(run)
    if not old:
        return scores
    return torch.cat([torch.full_like(scores[:, :old], -torch.inf), scores[:, old:]], dim=1)


@hookimpl
def register_methods(register):
    register(Finetune)
