"""The declaration of compression: what it measures, and what runs its cells."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

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
from ltbench.scoring.measures import CLASSIFICATION, FIRST, SHARES, Measure
from ltbench.tracks import classification
from ltbench.tracks.classification import split
from ltbench.tracks.compression.contract import Compressor
from ltbench.tracks.compression.problem import Compression
from ltbench.tracks.compression.track import (
    SUPPLIES,
    answer,
    divide,
    few,
    left,
    load,
    seconds,
)


def shown(name: str, label: str, **more: Any) -> Measure:
    """A measure of the table of networks, of which a row shows the median."""
    return Measure(name, label, table="network", typical="median", **more)


class CompressionTrack(Track[Compression]):
    """A trained network made smaller with a few imbalanced rows, scored on the test split."""

    name = "compression"
    made_in = "ltbench.tracks.compression.track"
    scaffolds = Path(__file__).parent / "scaffolds"
    example = "compress-digits"
    problem = Compression
    hooks = Compressor
    needs = SUPPLIES
    floor = ("teacher", "l1", "bp")
    reference = "bp"  # pruned, then trained plainly
    doing = "compressing and recovery"
    unit = "plain training of the whole network on the same rows"
    loss = "imbalance_loss"
    measures = (
        *CLASSIFICATION,
        Measure(
            "twin",
            "balanced twin",
            "*balanced twin*: the same with as many rows, balanced",
            table=FIRST,
            limits=SHARES,
        ),
        Measure(
            "imbalance_loss",
            "imbalance loss",
            "*imbalance loss*: what the balanced twin has more",
            better="lower",
            table=FIRST,
            stored=False,
            limits=(-1.0, 1.0),
        ),
        shown("parameters", "parameters", better="lower", unit="", form="{:,.0f}"),
        shown(
            "macs",
            "MACs",
            explanation="*MACs*: multiply-accumulate operations for a row",
            better="lower",
            unit="",
            form="{:,.0f}",
        ),
        shown("parameters_left", "of the teacher's", better="lower", form="{:.0f} %"),
        shown("macs_left", "of the teacher's", better="lower", form="{:.0f} %"),
        shown(
            "latency",
            "latency",
            explanation="*latency*: time over that of the teacher, measured in turns, of a batch "
            "of up to 64",
            better="lower",
            unit="x",
            timed=True,
        ),
        shown(
            "agreement",
            "agreement",
            explanation="*agreement*: test rows that are labelled as the teacher does, in percent",
        ),
        shown(
            "twin_seconds",
            "twin s",
            explanation="*twin s*: seconds by the clock, beside whatever else ran, of compressing "
            "and recovery on the balanced rows",
            better="lower",
            unit="s",
            timed=True,
        ),
    )
    tables = (
        Table(
            "network",
            before=("Rows without a rank are controls: they are no smaller than the teacher",),
        ),
    )

    load = staticmethod(load)
    seconds = staticmethod(seconds)
    divide = staticmethod(divide)
    answer = staticmethod(answer)
    step = staticmethod(classification.step)

    def plan(
        self, protocol: Compression, sources: Mapping[str, Dataset], device: torch.device
    ) -> None:
        classification.plan(protocol, sources, device)
        few(protocol, split(protocol, sources[""], 0), 0)

    def checks(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.compression.checks import CHECKS

        return CHECKS if recipe.all_needs & SUPPLIES else {}

    def thorough(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.compression.checks import THOROUGH

        return THOROUGH

    def derived(self, protocol: Compression, grid: Grid) -> Mapping[str, Floats]:
        """What the balanced twin has more of what ranks."""
        return {"imbalance_loss": grid.values["twin"] - grid.values[self.shown(protocol)[0]]}

    def units(self, record: Record) -> float | None:
        if record.timing is None:
            return None
        twin = record.measures.get("twin_seconds") or 0.0
        return record.timing.relative + twin / record.timing.reference_work

    def measured(self, protocol: Compression, record: Record, arrays: Arrays) -> Followed:
        return classification.measured(protocol, record, self.decided(record, arrays), arrays)

    def carried(
        self, old: Mapping[str, Any], protocol: Compression | None
    ) -> dict[str, Any] | None:
        made = old.get("compressed")
        if made is None:
            return {"measures": old["metrics"]} if protocol is not None else None
        ranking = self.shown(protocol)[0] if protocol is not None else "balanced_accuracy"
        told = {key: made[key] for key in ("parameters", "macs", "latency", "agreement")}
        return {
            "measures": old["metrics"]
            | told
            | left(
                *(made[key] for key in ("parameters", "teacher_parameters", "macs", "teacher_macs"))
            )
            | {"twin": made["twin"][ranking], "twin_seconds": made["twin_seconds"]},
            "control": made["control"],
            "details": {"teacher": made["teacher"], "twin": made["twin"]},
        }
