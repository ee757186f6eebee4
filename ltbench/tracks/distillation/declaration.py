"""The declaration of distillation: what it measures, and what runs its cells."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from ltbench.contract.context import Rows
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import (
    Arrays,
    Check,
    Floats,
    Followed,
    Grid,
    Table,
    Track,
)
from ltbench.datasets import Dataset
from ltbench.results.records import Record
from ltbench.scoring.measures import CLASSIFICATION, FIRST, Measure
from ltbench.tracks import classification
from ltbench.tracks.classification import split
from ltbench.tracks.distillation.problem import Distillation
from ltbench.tracks.distillation.track import SUPPLIES, WHOLE, answer, divide


class DistillationTrack(Track[Distillation]):
    """A few rows a class in place of an imbalanced set, scored by networks trained on them."""

    name = "distillation"
    made_in = "ltbench.tracks.distillation.track"
    scaffolds = Path(__file__).parent / "scaffolds"
    example = "distill-digits"
    problem = Distillation
    needs = SUPPLIES
    floor = (WHOLE, "full(balanced=True)", "random")
    reference = "random"  # what a distilled set must beat
    doing = "distilling"
    unit = "plain training on the whole set"
    measures = (
        *CLASSIFICATION,
        Measure(
            "retention",
            explanation=f"*retention*: accuracy over that of `{WHOLE}`, the whole set, with the "
            "same seed",
            table=FIRST,
            stored=False,
        ),
        Measure("images", unit="", form="{:.0f}", table="stored", typical="median"),
        Measure(
            "duplicates",
            "repeated",
            "*repeated*: images that are the same as another of their class",
            better="lower",
            unit="",
            form="{:.0f}",
            table="stored",
            typical="median",
        ),
        Measure("bytes", better="lower", unit="", form="{:.0f}", table="stored", typical="median"),
        Measure(
            "evaluation_seconds",
            "evaluation s",
            "*evaluation s*: seconds by the clock, beside whatever else ran, of training "
            "{0.networks} fresh networks on the images and scoring them",
            better="lower",
            unit="s",
            table="stored",
            typical="median",
            timed=True,
        ),
    )
    tables = (
        Table(
            "stored",
            before=("Rows without a rank are controls: they keep more than the budget allows",),
            after=("a seed is one distilled set, scored by the mean of its {0.networks} networks",),
        ),
    )

    load = staticmethod(classification.load)
    plan = staticmethod(classification.plan)
    seconds = staticmethod(classification.seconds)
    divide = staticmethod(divide)
    answer = staticmethod(answer)

    def checks(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.distillation.checks import CHECKS

        return CHECKS if "ipc" in recipe.all_needs else {}

    def step(self, protocol: Distillation, measure: str, classes: int) -> float | None:
        return classification.step(protocol, measure, classes, protocol.networks)

    def thorough(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.distillation.checks import THOROUGH

        return THOROUGH

    def derived(self, protocol: Distillation, grid: Grid) -> Mapping[str, Floats]:
        """What a set is worth in units of the whole one."""
        return {"retention": grid.values["accuracy"] / grid.row("accuracy", WHOLE)}

    def units(self, record: Record) -> float | None:
        if record.timing is None:
            return None
        evaluation = record.measures.get("evaluation_seconds") or 0.0
        return record.timing.relative + evaluation / record.timing.reference_work

    def picture(
        self,
        protocol: Distillation,
        record: Record,
        arrays: Arrays,
        sources: Mapping[str, Dataset],
    ) -> Any:
        from ltbench.tracks.distillation.sheet import sheet

        if "distilled" not in arrays:
            return None
        real = split(protocol, sources[""], record.seed).train
        labels = torch.from_numpy(arrays["distilled_labels"]).long()
        made = Rows(torch.from_numpy(arrays["distilled"]), labels)
        return sheet(real, made, record.class_counts, sources[""].classes)

    def decided(self, record: Record, arrays: Arrays) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """As kept; older records hold the rows of one network below those of the one before."""
        found = super().decided(record, arrays)
        if found is None or arrays["predicted"].ndim == 2:
            return found
        predicted = arrays["predicted"].reshape(record.details["networks"], -1)
        return found[0][: predicted.shape[1]], predicted

    def measured(self, protocol: Distillation, record: Record, arrays: Arrays) -> Followed:
        found = super().decided(record, arrays)  # older measures are of the rows of all networks
        return classification.measured(protocol, record, found, arrays)

    def carried(
        self, old: Mapping[str, Any], protocol: Distillation | None
    ) -> dict[str, Any] | None:
        made = old.get("distilled")
        if made is None:
            return {"measures": old["metrics"]} if protocol is not None else None
        told = {key: made[key] for key in ("images", "duplicates", "bytes", "evaluation_seconds")}
        return {
            "measures": old["metrics"] | told,
            "control": made["control"],
            "details": {"networks": made["networks"]},
        }
