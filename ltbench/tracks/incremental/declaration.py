"""The declaration of class-incremental learning: what it measures, and what runs its cells."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import torch

from ltbench.contract.recipes import Recipe
from ltbench.contract.track import (
    Arrays,
    Check,
    Floats,
    Followed,
    Grid,
    Track,
)
from ltbench.datasets import Dataset
from ltbench.results.records import Record
from ltbench.scoring.measures import CLASSIFICATION, FIRST, Measure, share
from ltbench.tracks import classification
from ltbench.tracks.incremental.arriving import dealt
from ltbench.tracks.incremental.contract import ClassIncremental
from ltbench.tracks.incremental.problem import Incremental
from ltbench.tracks.incremental.tasks import begin
from ltbench.tracks.incremental.track import (
    OF_CLASSES,
    SUPPLIES,
    OfTasks,
    answer,
    divide,
    given_of,
    measured,
    seconds,
)

BOUND = "joint"
"""The recipe that trains on all rows of all tasks, of which others are a share."""


class IncrementalTrack(Track[Incremental]):
    """Classes arrive in tasks, and of earlier ones a small memory is left."""

    name = "incremental"
    made_in = "ltbench.tracks.incremental.track"
    scaffolds = Path(__file__).parent / "scaffolds"
    example = "digits-incremental"
    problem = Incremental
    hooks = ClassIncremental
    needs = SUPPLIES | {"two_classes"}
    floor = ("erm",)
    unit = "plain training with memory"
    measures = (
        share(
            "average_incremental",
            "average",
            "*average*: mean recall over the classes known after a task, its mean over tasks",
            table=FIRST,
        ),
        share(
            "last",
            "last",
            "*last*: mean recall over all classes after the last task",
            table=FIRST,
        ),
        Measure(
            "forgetting",
            "forgetting",
            "*forgetting*: the best mean recall that a task's classes had before the last task, "
            "less what is left of it, its mean over earlier tasks; lower is better",
            better="lower",
            chosen=True,
            table=FIRST,
            limits=(-1.0, 1.0),
            empty="*forgetting*: there is one task",
        ),
        share(
            "old",
            "old",
            "*old*, *new*: mean recall of the classes before the last task, and of its own",
            table=FIRST,
            empty="*old*: there is one task",
        ),
        share("new", "new", table=FIRST),
        *(measure for measure in CLASSIFICATION if measure.name in OF_CLASSES),
        Measure(
            "kept_floats",
            "kept",
            "*kept*: what is carried from task to task in words of 32 bits: remembered rows, what "
            "methods hold, what networks hold beyond the plain one, and the earlier network where "
            "it is used",
            better="lower",
            unit="words",
            form="{:,.0f}",
            chosen=True,
        ),
        Measure(
            "share_of_joint",
            "of joint",
            f"*of joint*: last over that of `{BOUND}`, which is given all earlier rows again",
            stored=False,
            chosen=True,
            empty=f"*of joint*: there is no row of `{BOUND}`",
        ),
    )

    load = staticmethod(classification.load)
    seconds = staticmethod(seconds)
    divide = staticmethod(divide)
    answer = staticmethod(answer)

    def plan(
        self, protocol: Incremental, sources: Mapping[str, Dataset], device: torch.device
    ) -> None:
        given = given_of(protocol, sources[""], 0)
        cpu = torch.device("cpu")
        begin(protocol, given.train, 0, given.classes, 0, cpu)

    def checks(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.incremental.checks import checks

        return checks(recipe)

    def thorough(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.incremental.checks import THOROUGH

        return THOROUGH

    def derived(self, protocol: Incremental, grid: Grid) -> Mapping[str, Floats]:
        """What is left at the end of what training on everything again would give."""
        return {"share_of_joint": grid.values["last"] / grid.row("last", BOUND)}

    def step(self, protocol: Incremental, measure: str, classes: int) -> float | None:
        """One test row moves the mean over tasks most as one of the first task's, said once."""
        if measure not in ("average_incremental", "last"):
            return None
        step = classification.step(protocol, "balanced_accuracy", classes)
        if step is None or measure == "last":
            return step
        return step * classes / dealt(protocol, classes)[0] / protocol.tasks

    def measured(self, protocol: Incremental, record: Record, arrays: Arrays) -> Followed:
        if not {"labels", "predicted", "confidence", "earlier"} <= arrays.keys():
            return {}
        return measured(protocol, record, arrays, msgspec.convert(record.details, OfTasks))

    def refused(self, record: Record) -> str | None:
        if record.status != "ok":
            return None
        try:
            msgspec.convert(record.details, OfTasks)
        except msgspec.ValidationError as error:
            return f"its tasks are none ({str(error).replace('`', '')})"
        return None
